package watch

import (
	"time"

	"weightwarden/agent/process"
)

// Opened is one opening of a watched inode.
type Opened struct {
	ID   process.FileID
	Path string
	PID  int
	At   time.Time
}
