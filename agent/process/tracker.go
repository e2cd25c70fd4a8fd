package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"weightwarden/internal/api"
)

// Ended is the optional memory of processes that are gone already.
type Ended interface {
	// ByPID returns the process that had the number at a time, alive or not.
	ByPID(pid int, at time.Time) (*api.Process, bool)
	// Naming returns the processes alive at a time whose arguments name a file
	// called base, newest first.
	Naming(base string, at time.Time) []*api.Process
	// State is empty while the memory is complete, else what is wrong with it.
	State() string
}

// Tracker remembers who had files open. Its methods are safe for concurrent use.
type Tracker struct {
	proc  Proc
	self  int
	ended Ended // nil: none

	mu    sync.Mutex
	seen  map[FileID]seen
	made  map[FileID]maker
	looks *rate.Limiter
}

// maker is who made a file that is still small.
type maker struct {
	pid int
	at  time.Time
}

type seen struct {
	process *api.Process
	writing bool
	at      time.Time
}

const (
	seenMax  = 4096
	seenTime = 10 * time.Minute
)

// NewTracker returns a Tracker. ended may be nil.
func NewTracker(proc Proc, ended Ended) *Tracker {
	// A look walks /proc: about a millisecond. Twenty a second are two percent of a core.
	return &Tracker{proc: proc, self: os.Getpid(), ended: ended, seen: map[FileID]seen{}, made: map[FileID]maker{}, looks: rate.NewLimiter(20, 20)}
}

// Observe looks who has the file open for writing and remembers. In a storm of
// events it looks only now and then.
func (t *Tracker) Observe(id FileID) {
	t.mu.Lock()
	old, known := t.seen[id]
	t.mu.Unlock()
	if known && old.writing && time.Since(old.at) < 500*time.Millisecond || !t.looks.Allow() {
		return
	}
	for _, h := range t.proc.Holders(id, t.self, 1) {
		p, err := t.proc.Read(h.PID)
		if err != nil {
			continue
		}
		p.Certainty = Likely
		t.proc.Chain(p)
		t.remember(id, seen{process: p, writing: h.Writing, at: time.Now()})
		return
	}
}

func (t *Tracker) remember(id FileID, s seen) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.seen[id]; ok && old.writing && !s.writing && s.at.Sub(old.at) < seenTime {
		return // a reader does not displace the writer
	}
	if len(t.seen) >= seenMax {
		t.forgetOld()
	}
	t.seen[id] = s
}

// forgetOld drops what is too old, and where that is not enough, half of it.
func (t *Tracker) forgetOld() {
	for id, s := range t.seen {
		if time.Since(s.at) > seenTime {
			delete(t.seen, id)
		}
	}
	for id := range t.seen {
		if len(t.seen) < seenMax/2 {
			return
		}
		delete(t.seen, id)
	}
}

// Who names the process behind a write. pid is what the kernel said with the
// event, 0 for nothing.
func (t *Tracker) Who(id FileID, path string, pid int, written time.Time) (*api.Process, string) {
	if pid > 0 {
		if p, ok := t.byPID(pid, written); ok {
			p.Certainty = Exact
			if ofKernel(p) {
				return t.behindKernel(id, path, p, written)
			}
			return p, ""
		}
		return nil, fmt.Sprintf("the kernel named process %d, but it ended before anything else about it was read", pid)
	}
	s, ok := t.lastSeen(id)
	if ok && s.writing {
		p := *s.process
		return &p, ""
	}
	if p, ok := t.named(path, written); ok {
		return p, ""
	}
	if ok {
		p := *s.process
		p.Certainty = Guessed
		return &p, "it had the file open, but not for writing"
	}
	return nil, "this source of events names no process, and none had the file open when the agent looked"
}

func (t *Tracker) lastSeen(id FileID) (seen, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.seen[id]
	return s, ok && time.Since(s.at) < seenTime
}

// Made notes who made a file, before anything is in it.
func (t *Tracker) Made(id FileID, pid int, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.made) >= seenMax {
		clear(t.made) // a storm: this is a help, not the record
	}
	t.made[id] = maker{pid, at}
}

// ofKernel reports whether a process is a thread of the kernel: all of them come from number 2, and run no program.
func ofKernel(p *api.Process) bool {
	const kthreadd = 2
	return (p.PID == kthreadd || p.PPID == kthreadd) && p.Exe == "" && len(p.Args) == 0
}

// behindKernel names who wrote what a thread of the kernel closed. It does so for a process that writes through io_uring
// and ends at once, and for one that keeps no descriptor; and it writes by itself what clients of its file server send.
func (t *Tracker) behindKernel(id FileID, path string, thread *api.Process, written time.Time) (*api.Process, string) {
	note := fmt.Sprintf("a thread of the kernel (%.40q) closed the file", thread.Name)
	t.mu.Lock()
	m, ok := t.made[id]
	t.mu.Unlock()
	if ok && written.Sub(m.at) < seenTime {
		if p, ok := t.byPID(m.pid, m.at); ok && !ofKernel(p) {
			p.Certainty = Likely
			return p, note + "; this process had made it"
		}
	}
	if s, ok := t.lastSeen(id); ok && s.writing {
		p := *s.process
		return &p, note + "; this process had it open for writing"
	}
	if p, ok := t.named(path, written); ok {
		return p, note + "; this process names it"
	}
	return thread, note + ": who wrote through it is not known (a process that has ended, io_uring, a client of this machine's file server)"
}

func (t *Tracker) byPID(pid int, at time.Time) (*api.Process, bool) {
	if t.ended != nil {
		if p, ok := t.ended.ByPID(pid, at); ok {
			t.chain(p, at)
			return p, true
		}
	}
	p, err := t.proc.Read(pid)
	if err != nil {
		return nil, false
	}
	t.proc.Chain(p)
	return p, true
}

// chain fills in ancestors, from the memory where a parent has ended.
func (t *Tracker) chain(of *api.Process, at time.Time) {
	seen := map[int]bool{of.PID: true}
	for pid := of.PPID; pid > 0 && !seen[pid] && len(of.Ancestors) < maxAncestors; {
		seen[pid] = true
		parent, ok := t.ended.ByPID(pid, at)
		if !ok {
			var err error
			if parent, err = t.proc.Read(pid); err != nil {
				return
			}
		}
		of.Ancestors = append(of.Ancestors, Brief(parent))
		pid = parent.PPID
	}
}

// named guesses by arguments: "cp a.pt /mnt/b.bin" lived while b.bin was written.
func (t *Tracker) named(path string, written time.Time) (*api.Process, bool) {
	if t.ended == nil {
		return nil, false
	}
	base := filepath.Base(path)
	for _, p := range t.ended.Naming(base, written) {
		p.Certainty = Guessed
		t.chain(p, written)
		return p, true
	}
	return nil, false
}

// Names reports whether an argument of a command line names a file called base.
func Names(args []string, base string) bool {
	if base == "" || base == "." {
		return false
	}
	for _, a := range args {
		if i := strings.LastIndexByte(a, '='); i >= 0 && filepath.Base(a[i+1:]) == base { // of=/x/y
			return true
		}
		if filepath.Base(a) == base {
			return true
		}
	}
	return false
}
