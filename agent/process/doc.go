// Package process says who wrote or read a file: process, user, ancestors,
// container. It reads /proc itself, because gopsutil on the hot path costs twice
// the time, and uses gopsutil for seeding and on other systems.
//
// How sure an answer is stands in api.Process.Certainty: "exact" (the kernel
// named the process in the event), "likely" (it had the file open), "guessed" (it
// lived while the file was written and its arguments name the file). Where none
// of these holds there is no process, and a note says so.
package process

import "weightwarden/internal/api"

// The words of api.Process.Certainty.
const (
	Exact   = "exact"
	Likely  = "likely"
	Guessed = "guessed"
)

// FileID names an inode on this machine until it is deleted: device number as
// stat gives it, and inode.
type FileID struct {
	Dev, Inode uint64
}

// Holder is a process that has a file open.
type Holder struct {
	PID     int
	Writing bool
}

// maxAncestors bounds the chain of parents.
const maxAncestors = 16

// cutArgs bounds what is kept of a command line.
func cutArgs(args []string) []string {
	if len(args) > 64 {
		args = args[:64]
	}
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a[:min(len(a), 1024)]
	}
	return out
}

// Brief returns p without what only full reports need.
func Brief(p *api.Process) api.Process {
	return api.Process{PID: p.PID, PPID: p.PPID, Started: p.Started, Name: p.Name, Exe: p.Exe, Args: p.Args, UID: p.UID, Certainty: p.Certainty}
}
