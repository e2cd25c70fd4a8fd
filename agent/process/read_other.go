//go:build !linux

package process

import (
	"fmt"

	"github.com/shirou/gopsutil/v3/process"

	"weightwarden/internal/api"
)

// Proc reads processes through gopsutil on this system.
type Proc struct {
	Root string // not used here
}

// Read describes a running process, without ancestors.
func (Proc) Read(pid int) (*api.Process, error) {
	g, err := process.NewProcess(int32(pid))
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return fromGopsutil(g), nil
}

// PIDs lists the running processes.
func (Proc) PIDs() []int {
	list, err := process.Pids()
	if err != nil {
		return nil
	}
	out := make([]int, len(list))
	for i, p := range list {
		out[i] = int(p)
	}
	return out
}

// Holders finds nothing: this system has no cheap way to ask who has a file open.
func (Proc) Holders(FileID, int, int) []Holder { return nil }

// Chain fills in the ancestors of a process, nearest first.
func (p Proc) Chain(of *api.Process) {
	seen := map[int]bool{of.PID: true}
	for pid := of.PPID; pid > 0 && !seen[pid] && len(of.Ancestors) < maxAncestors; {
		seen[pid] = true
		parent, err := p.Read(pid)
		if err != nil {
			return
		}
		of.Ancestors = append(of.Ancestors, Brief(parent))
		pid = parent.PPID
	}
}
