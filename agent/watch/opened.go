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

// Tampering is a change of one of the agent's own files by somebody else.
type Tampering struct {
	Path string
	What string // "written", "deleted", ...
	PID  int
	At   time.Time
}
