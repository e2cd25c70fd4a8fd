package process

import (
	"container/list"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weightwarden/internal/api"
)

// Cache remembers processes from their start until a while after their end, fed
// by fork, exec and exit events. Reading /proc when a file is closed comes too
// late for a tool that closes by exiting; reading it at exec does not. Its
// methods are safe for concurrent use.
type Cache struct {
	proc Proc

	mu    sync.Mutex
	byPID map[int]*list.Element
	order *list.List // of *entry, oldest first
	state string
	execs map[int]opened // programs opened for exec, by process

	Lost atomic.Uint64 // times that events were lost
}

type entry struct {
	p      api.Process
	born   time.Time
	ended  time.Time // zero: alive
	unread bool      // it was gone before /proc could be read: facts are its parent's
}

// opened is a program file that a process opened to run it.
type opened struct {
	exe string
	at  time.Time
}

const (
	cacheMax  = 32 << 10
	keepEnded = 2 * time.Minute
)

// NewCache returns a cache that knows the processes of seed.
func NewCache(proc Proc, seed []api.Process) *Cache {
	c := &Cache{proc: proc, byPID: map[int]*list.Element{}, order: list.New(), execs: map[int]opened{}}
	c.Reseed(seed)
	return c
}

// Reseed adds running processes, after a start or after events were lost.
func (c *Cache) Reseed(seed []api.Process) {
	for _, p := range seed {
		// The seed knows no login, session, terminal and container.
		if full, err := c.proc.Read(p.PID); err == nil {
			p = *full
		}
		born := time.Time{}
		if p.Started != nil {
			born = *p.Started
		}
		c.put(&entry{p: p, born: born})
	}
}

func (c *Cache) put(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.byPID[e.p.PID]; ok {
		c.order.Remove(old)
	}
	c.byPID[e.p.PID] = c.order.PushBack(e)
	c.prune()
}

// prune drops processes that ended long ago, and the oldest when there are too
// many; the lock is held.
func (c *Cache) prune() {
	for el := c.order.Front(); el != nil; {
		e, next := el.Value.(*entry), el.Next()
		old := !e.ended.IsZero() && time.Since(e.ended) > keepEnded
		if !old && c.order.Len() <= cacheMax {
			return
		}
		c.order.Remove(el)
		if c.byPID[e.p.PID] == el {
			delete(c.byPID, e.p.PID)
		}
		el = next
	}
}

// Fork notes a new process: until it runs a program, it is its parent.
func (c *Cache) Fork(parent, child int, at time.Time) {
	e := &entry{born: at}
	c.mu.Lock()
	if el, ok := c.byPID[parent]; ok {
		e.p = el.Value.(*entry).p
	}
	c.mu.Unlock()
	if e.p.Name == "" {
		p, err := c.proc.Read(parent)
		if err != nil {
			p = &api.Process{UID: -1}
		}
		e.p = *p
	}
	e.p.PID, e.p.PPID = child, parent
	started := at.UTC()
	e.p.Started = &started
	c.put(e)
}

// Exec notes that a process runs another program now.
func (c *Cache) Exec(pid int, at time.Time) {
	p, err := c.proc.Read(pid)
	if err == nil {
		c.put(&entry{p: *p, born: at})
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.byPID[pid]; ok {
		el.Value.(*entry).unread = true
	}
}

// Opened notes that a process opened a program to run it. The kernel says so
// before the program runs, so this holds also for one that is gone before /proc
// can be read. After the program comes its loader, which does not count.
func (c *Cache) Opened(pid int, exe string, at time.Time) {
	base := filepath.Base(exe)
	if strings.HasPrefix(base, "ld-linux") || strings.HasPrefix(base, "ld-musl") || strings.HasPrefix(base, "ld64.so") {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.execs) > cacheMax {
		for pid, o := range c.execs {
			if at.Sub(o.at) > time.Minute {
				delete(c.execs, pid)
			}
		}
		if len(c.execs) > cacheMax {
			clear(c.execs) // a storm: these are a help, not the record
		}
	}
	c.execs[pid] = opened{exe, at}
}

// complete fills in from the opened program what /proc did not yield; the lock is
// held.
func (c *Cache) complete(e *entry) {
	o, ok := c.execs[e.p.PID]
	if !ok || !e.unread && e.p.Exe != "" || o.at.Before(e.born.Add(-time.Second)) {
		return
	}
	if e.unread { // the facts are those of the parent, which the child shares but for the program
		e.p.Name, e.p.Args = filepath.Base(o.exe), nil
		e.unread = false
	}
	e.p.Exe = o.exe
}

// Exit notes the end of a process.
func (c *Cache) Exit(pid int, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.byPID[pid]
	if !ok {
		return
	}
	el.Value.(*entry).ended = at
	c.order.MoveToBack(el)
	c.prune()
}

// SetState says what is wrong with the cache; "" is nothing.
func (c *Cache) SetState(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
}

// State implements Ended.
func (c *Cache) State() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// ByPID implements Ended.
func (c *Cache) ByPID(pid int, at time.Time) (*api.Process, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.byPID[pid]
	if !ok {
		return nil, false
	}
	e := el.Value.(*entry)
	c.complete(e)
	if e.unread || e.born.After(at.Add(time.Second)) {
		return nil, false
	}
	p := e.p
	return &p, true
}

// Naming implements Ended.
func (c *Cache) Naming(base string, at time.Time) []*api.Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*api.Process
	for el := c.order.Back(); el != nil && len(out) < 4; el = el.Prev() {
		e := el.Value.(*entry)
		alive := e.born.Before(at.Add(100*time.Millisecond)) && (e.ended.IsZero() || e.ended.After(at.Add(-5*time.Second)))
		if alive && Names(e.p.Args, base) {
			p := e.p
			out = append(out, &p)
		}
	}
	return out
}

// Len is the number of processes remembered.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}
