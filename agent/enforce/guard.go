package enforce

import (
	"os"
	"sync/atomic"
	"time"

	"weightwarden/agent/process"
)

type fileID = process.FileID

// Denied is an opening that was refused.
type Denied struct {
	ID       fileID
	Path     string
	PID      int
	Exe      string
	At       time.Time
	Lockdown bool // because of the folder, not because of the file
}

// Counters of decisions.
type Counters struct {
	Allowed   atomic.Uint64
	Denied    atomic.Uint64
	Undecided atomic.Uint64 // allowed because the budget was over
	Unsaid    atomic.Uint64 // denied, but too many at once to be reported
}

// GuardOptions of a Guard.
type GuardOptions struct {
	Rules   Rules
	MinSize int64         // in lockdown folders smaller files are let through
	Budget  time.Duration // for one decision, then it is allowed
	Own     []string      // folders of the agent itself, never guarded
}

// program is the identity of an executable: its path could be that of another
// file in another mount namespace.
type program struct{ dev, inode uint64 }

// programsOf finds the executables that are there now.
func programsOf(paths []string) map[program]bool {
	out := map[program]bool{}
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil {
			if id, ok := programOf(info); ok {
				out[id] = true
			}
		}
	}
	return out
}
