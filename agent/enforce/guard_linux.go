package enforce

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weightwarden/agent/watch/fanotify"
)

// Guard answers the kernel's question whether a process may open a known copy, or
// a large file in a folder under lockdown (fanotify permission events). A process
// that asks stands still until the answer, so that the rules of this code are:
//
//   - decide from memory and from /proc only; open, hash, log and send nothing;
//   - let through at once: the agent itself, process 1, its own files, and whatever
//     could not be decided within the budget, which is counted;
//   - mark single files and folders only, never file systems, and nothing on
//     network or FUSE mounts, whose servers could be the ones that wait;
//   - answer first, report after;
//   - the end of the agent, however it comes, lets everybody through: the kernel
//     does that when the group is closed.
type Guard struct {
	Count  Counters
	opts   GuardOptions
	allow  atomic.Pointer[map[program]bool]
	group  *fanotify.Group
	asked  chan question
	denied chan Denied
	done   chan struct{}
	ended  sync.WaitGroup
	once   sync.Once
	self   int32
}

type question struct {
	fd  int32
	pid int32
	at  time.Time
}

const (
	guardWorkers = 2
	guardQueue   = 256
	lockdownMax  = 4096 // folders marked below those under lockdown
)

// NewGuard guards nothing yet but the folders under lockdown.
func NewGuard(o GuardOptions) (*Guard, error) {
	g, err := fanotify.Open(unix.FAN_CLASS_CONTENT|unix.FAN_UNLIMITED_QUEUE|unix.FAN_UNLIMITED_MARKS, unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC|unix.O_NOATIME)
	if err != nil {
		return nil, err
	}
	guard := &Guard{opts: o, group: g, asked: make(chan question, guardQueue), denied: make(chan Denied, guardQueue),
		done: make(chan struct{}), self: int32(os.Getpid())}
	guard.Refresh()
	guard.ended.Add(1 + guardWorkers)
	go guard.read()
	for range guardWorkers {
		go guard.work()
	}
	return guard, nil
}

// Denied receives refused openings.
func (g *Guard) Denied() <-chan Denied { return g.denied }

// Add guards the inode of an open file, under all its names.
func (g *Guard) Add(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var merr error
	err = raw.Control(func(fd uintptr) { merr = g.mark(int(fd), unix.FAN_OPEN_PERM) })
	return errors.Join(err, merr)
}

func (g *Guard) mark(fd int, mask uint64) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	switch st.Type {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.V9FS_MAGIC, unix.CEPH_SUPER_MAGIC,
		unix.AFS_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC, unix.CODA_SUPER_MAGIC:
		return errors.New("openings on network and FUSE mounts are not held up")
	}
	if below(linkOf(int32(fd)), g.opts.Own) {
		return errors.New("the agent's own files are not guarded")
	}
	return g.group.MarkFD(unix.FAN_MARK_ADD, mask, fd)
}

// Refresh looks again which executables are allowed and marks folders that are
// new below those under lockdown.
func (g *Guard) Refresh() {
	allow := programsOf(g.opts.Rules.AllowPrograms)
	g.allow.Store(&allow)
	left := lockdownMax
	for _, root := range g.opts.Rules.Lockdown {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil // what cannot be entered by root is not there
			}
			if left--; left < 0 {
				return filepath.SkipAll
			}
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if err == nil {
				_ = g.mark(fd, unix.FAN_OPEN_PERM|unix.FAN_EVENT_ON_CHILD) // on a share it cannot be had
				unix.Close(fd)
			}
			return nil
		})
	}
}

// read takes questions. It answers by itself what needs no look, so that the
// agent's own openings never wait for a worker.
func (g *Guard) read() {
	defer g.ended.Done()
	defer close(g.asked)
	for {
		events, err := g.group.Read()
		for _, ev := range events {
			if ev.FD < 0 {
				continue
			}
			q := question{ev.FD, ev.PID, time.Now()}
			if ev.PID == g.self || ev.PID <= 1 {
				g.answer(q, true)
				continue
			}
			select {
			case g.asked <- q:
			default:
				g.Count.Undecided.Add(1)
				g.answer(q, true)
			}
		}
		select {
		case <-g.done:
			return
		default:
		}
		if err != nil && !errors.Is(err, fanotify.ErrEvent) {
			time.Sleep(10 * time.Millisecond) // an error that stays must not spin
		}
	}
}

func (g *Guard) work() {
	defer g.ended.Done()
	for q := range g.asked {
		if time.Since(q.at) > g.opts.Budget {
			g.Count.Undecided.Add(1)
			g.answer(q, true)
			continue
		}
		d, ok := g.decide(q)
		if late := time.Since(q.at) > g.opts.Budget; late && !ok {
			g.Count.Undecided.Add(1)
			ok = true
		}
		g.answer(q, ok)
		if ok {
			continue
		}
		select {
		case g.denied <- d:
		default:
			g.Count.Unsaid.Add(1)
		}
	}
}

// decide says whether an opening is allowed. The opener stands still, so that its
// /proc speaks of it and of nobody else.
func (g *Guard) decide(q question) (Denied, bool) {
	var st unix.Stat_t
	if unix.Fstat(int(q.fd), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return Denied{}, true
	}
	proc := fmt.Sprintf("/proc/%d/exe", q.pid)
	if info, err := os.Stat(proc); err == nil {
		if id, ok := programOf(info); ok && (*g.allow.Load())[id] {
			return Denied{}, true
		}
	}
	d := Denied{ID: fileID{Dev: uint64(st.Dev), Inode: st.Ino}, Path: linkOf(q.fd), PID: int(q.pid), At: q.at}
	d.Exe, _ = os.Readlink(proc) // kernel threads have none
	if g.opts.Rules.AllowedPlace(d.Path) {
		return Denied{}, true
	}
	d.Lockdown = g.opts.Rules.LockedDown(d.Path)
	if d.Lockdown && st.Size < g.opts.MinSize {
		return Denied{}, true
	}
	return d, false
}

func (g *Guard) answer(q question, allow bool) {
	response := uint32(unix.FAN_ALLOW)
	if allow {
		g.Count.Allowed.Add(1)
	} else {
		g.Count.Denied.Add(1)
		response = unix.FAN_DENY
	}
	_ = g.group.Answer(q.fd, response) // after Close the kernel has let it through
	unix.Close(int(q.fd))
}

// Close ends it. Whoever waits is let through.
func (g *Guard) Close() error {
	var err error
	g.once.Do(func() {
		close(g.done)
		err = g.group.Close()
		g.ended.Wait()
		close(g.denied)
	})
	return err
}

func linkOf(fd int32) string {
	p, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(p, " (deleted)")
}

func programOf(info os.FileInfo) (program, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return program{}, false
	}
	return program{uint64(st.Dev), st.Ino}, true
}
