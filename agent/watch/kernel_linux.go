package watch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"weightwarden/agent/watch/fanotify"
	"weightwarden/internal/api"
)

// KernelOptions of a Kernel watcher.
type KernelOptions struct {
	Roots   []string
	Filter  Filter
	MinSize int64 // smaller files are not reported
	// Small says which of those are, by their names; nil: none.
	Small   func(path string) bool
	Bounded bool // a bounded kernel queue, for tests of overflow
	// OnExec is told of programs that are opened to be run; nil: nobody asks.
	OnExec func(pid int, exe string, at time.Time)
	// Poll is how often all mount namespaces are looked at; 0 for two seconds.
	Poll time.Duration
}

// Kernel watches whole file systems through two fanotify groups: one whose events
// carry a descriptor of the written file (it can be read even after the file was
// deleted), and one whose events carry names, for renames and links. Marks are on
// file systems, never on mounts: a mount mark misses bind mounts, other mount
// namespaces and the writes of containers.
type Kernel struct {
	opts    KernelOptions
	content *fanotify.Group
	names   *fanotify.Group // nil: not to be had
	events  chan Event
	gaps    chan Gap
	done    chan struct{}
	ended   sync.WaitGroup
	once    sync.Once
	self    int32

	mu     sync.Mutex
	marks  map[uint64]*mark // by device
	byFS   map[[8]byte]*mark
	canary atomic.Uint64 // inode that the canary waits for
	sung   chan struct{}
	starts chan int      // processes that were started
	Seen   atomic.Uint64 // events read
	closed atomic.Uint64 // of them, files closed after writing
}

// mark is one marked file system.
type mark struct {
	mount
	content, names bool
	hidden         bool // another file system is mounted over it
	problem        string
}

// NewKernel starts watching. It fails where fanotify cannot be had.
func NewKernel(o KernelOptions) (*Kernel, error) {
	queue := uint(unix.FAN_UNLIMITED_QUEUE | unix.FAN_UNLIMITED_MARKS)
	if o.Bounded {
		queue = unix.FAN_UNLIMITED_MARKS
	}
	content, err := fanotify.Open(unix.FAN_CLASS_NOTIF|queue, unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC|unix.O_NOATIME)
	if err != nil {
		return nil, err
	}
	names, err := fanotify.Open(unix.FAN_CLASS_NOTIF|queue|unix.FAN_REPORT_DFID_NAME_TARGET, unix.O_RDONLY)
	if o.Poll == 0 {
		o.Poll = 2 * time.Second
	}
	if err != nil {
		names = nil // an older kernel: renames and links come with the sweeps
	}
	k := &Kernel{opts: o, content: content, names: names, events: make(chan Event, 1024), gaps: make(chan Gap, 64),
		done: make(chan struct{}), self: int32(os.Getpid()), marks: map[uint64]*mark{}, byFS: map[[8]byte]*mark{}, sung: make(chan struct{}, 1), starts: make(chan int, 256)}
	table, err := openMounts()
	if err != nil {
		return nil, errors.Join(err, k.closeGroups())
	}
	if k.refresh(true); k.marked() == 0 {
		err := errors.New("no file system could be marked")
		for _, m := range k.marks {
			err = fmt.Errorf("%w; %s: %s", err, m.reach, m.problem)
		}
		return nil, errors.Join(err, k.closeGroups(), unix.Close(table))
	}
	k.markDevices()
	k.ended.Add(3)
	go k.readContent()
	go k.followMounts(table)
	go k.followStarts()
	if names != nil {
		k.ended.Add(1)
		go k.readNames()
	}
	return k, nil
}

func (k *Kernel) closeGroups() error {
	err := k.content.Close()
	if k.names != nil {
		err = errors.Join(err, k.names.Close())
	}
	return err
}

// Events implements Watcher.
func (k *Kernel) Events() <-chan Event { return k.events }

// Gaps implements Watcher.
func (k *Kernel) Gaps() <-chan Gap { return k.gaps }

// Closed counts the files, of any size and kind, whose closing after writing the
// kernel told of. It joins equal events that nobody read yet.
func (k *Kernel) Closed() uint64 { return k.closed.Load() }

// Close implements Watcher.
func (k *Kernel) Close() error {
	var err error
	k.once.Do(func() {
		close(k.done)
		err = k.closeGroups()
		go func() { // events on their way are not lost to a full channel
			for ev := range k.events {
				if ev.File != nil {
					ev.File.Close()
				}
			}
		}()
		k.ended.Wait()
		close(k.events)
		close(k.gaps)
	})
	return err
}

func (k *Kernel) marked() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for _, m := range k.marks {
		if m.content {
			n++
		}
	}
	return n
}

// Status implements Watcher.
func (k *Kernel) Status() []api.Watch {
	still, err := k.content.Marked()
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]api.Watch, 0, len(k.marks))
	for _, m := range k.marks {
		w := api.Watch{Path: m.reach, Tier: TierFanotify, State: "ok", Detail: m.kind}
		switch {
		case m.hidden:
			w.State, w.Detail = "partial", m.kind+": "+m.problem+"; what was open there before is not seen"
		case !m.content:
			w.State, w.Detail = "broken", m.kind+": "+m.problem
		case err == nil && !still[m.dev] && m.kind != "btrfs":
			w.State, w.Detail = "broken", m.kind+": the mark is gone"
		case remoteKind(m.kind):
			w.State, w.Detail = "partial", m.kind+": writes of other machines are found by polling"
		case !m.names:
			w.State, w.Detail = "partial", m.kind+": renames and links are found by sweeps"
		}
		out = append(out, w)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Path < out[j].Path })
	return out
}

// concerns reports whether a mount can hold watched files.
func (k *Kernel) concerns(m mount) bool {
	for _, root := range k.opts.Roots {
		if root == "/" || !m.foreign && (Within(m.point, root) || Within(root, m.point)) {
			return !k.opts.Filter.Skips(m.point)
		}
	}
	return false
}

// refresh marks file systems that are new and forgets those that are gone.
func (k *Kernel) refresh(first bool) {
	mounts := allMounts("/proc")
	k.mu.Lock()
	defer k.mu.Unlock()
	here := map[uint64]bool{}
	k.forgetLost()
	k.take(mounts, here, first)
	for dev := range k.marks {
		if _, ok := here[dev]; !ok {
			k.forget(dev)
		}
	}
}

// forgetLost forgets file systems whose marks went with them, so that those that were given their device numbers since,
// which the kernel does at once, are marked anew. The lock is held.
func (k *Kernel) forgetLost() {
	still, err := k.content.Marked()
	if err != nil {
		return
	}
	for dev, m := range k.marks {
		if m.content && !still[dev] && m.kind != "btrfs" { // a subvolume has a number of its own, its mark that of the whole
			k.forget(dev)
		}
	}
}

// forget drops what is known of a file system; the lock is held.
func (k *Kernel) forget(dev uint64) {
	m := k.marks[dev]
	delete(k.marks, dev)
	for fs, other := range k.byFS {
		if other == m {
			delete(k.byFS, fs)
		}
	}
}

// take marks what is new of a list of mounts and notes what is there; the lock is
// held.
func (k *Kernel) take(mounts []mount, here map[uint64]bool, first bool) {
	var fresh []*mark
	for _, m := range mounts {
		if here[m.dev] || !k.concerns(m) {
			continue
		}
		old := k.marks[m.dev]
		switch {
		case old == nil || old.hidden || !old.content && old.reach != m.reach || old.kind != m.kind:
			old = k.markFS(m)
			fresh = append(fresh, old)
		case old.foreign:
			old.mount = m // reached through a process that lives now
		}
		here[m.dev] = old.content
	}
	for _, m := range fresh {
		if !first && m.content {
			k.gap(Gap{Path: m.reach, From: time.Now().Add(-time.Minute), Cause: "unwatched", Text: "a file system was mounted"})
		}
	}
}

// markFS marks one file system; the lock is held.
func (k *Kernel) markFS(mt mount) *mark {
	m := &mark{mount: mt}
	k.marks[mt.dev] = m
	if m.hidden = mt.hidden(); m.hidden {
		m.problem = "another file system is mounted over it"
		return m
	}
	const add = unix.FAN_MARK_ADD | unix.FAN_MARK_FILESYSTEM
	if err := k.content.Mark(add, unix.FAN_CLOSE_WRITE, mt.reach); err != nil {
		m.problem = err.Error()
		return m
	}
	m.content = true
	_ = k.content.Mark(add, unix.FAN_OPEN_EXEC, mt.reach) // only a help
	if k.names == nil {
		return m
	}
	const mask = unix.FAN_CREATE | unix.FAN_RENAME | unix.FAN_ONDIR
	var st unix.Statfs_t
	if err := k.names.Mark(add, mask, mt.reach); err != nil || unix.Statfs(mt.reach, &st) != nil {
		return m
	}
	m.names = true
	k.byFS[fsBytes(st.Fsid)] = m
	return m
}

func fsBytes(id unix.Fsid) (out [8]byte) {
	for i, v := range id.Val {
		for j := range 4 {
			out[i*4+j] = byte(uint32(v) >> (8 * j))
		}
	}
	return out
}

func (k *Kernel) gap(g Gap) {
	select {
	case k.gaps <- g:
	default:
		go func() { // rare, and never to be lost
			select {
			case k.gaps <- g:
			case <-k.done:
			}
		}()
	}
}

func (k *Kernel) send(e Event) {
	select {
	case k.events <- e:
	case <-k.done:
		if e.File != nil {
			e.File.Close()
		}
	}
}

func (k *Kernel) overflow() {
	for _, root := range k.opts.Roots {
		k.gap(Gap{Path: root, From: time.Now().Add(-time.Minute), Cause: "overflow", Text: "the kernel's queue was full"})
	}
}

// readLoop reads a group until it is closed.
func (k *Kernel) readLoop(g *fanotify.Group, handle func(fanotify.Event)) {
	defer k.ended.Done()
	for {
		events, err := g.Read()
		for _, ev := range events {
			k.Seen.Add(1)
			if ev.Mask&unix.FAN_Q_OVERFLOW != 0 {
				k.overflow()
				continue
			}
			handle(ev)
		}
		if err == nil {
			continue
		}
		select {
		case <-k.done:
			return
		default:
		}
		// What this event was about is unknown: everything is swept for its time.
		k.gap(Gap{Path: k.opts.Roots[0], From: time.Now().Add(-time.Minute), Cause: "unreadable", Text: err.Error()})
		if !errors.Is(err, fanotify.ErrEvent) {
			time.Sleep(100 * time.Millisecond) // an error that stays must not spin
		}
	}
}

// readContent handles closed files. It is the hot path: most files are small and
// end after one fstat.
func (k *Kernel) readContent() {
	k.readLoop(k.content, func(ev fanotify.Event) {
		if ev.FD < 0 {
			return
		}
		fd := int(ev.FD)
		if ev.Mask&unix.FAN_OPEN_EXEC != 0 {
			if k.opts.OnExec != nil {
				k.opts.OnExec(int(ev.PID), readlinkFD(fd), time.Now())
			}
			k.started(int(ev.PID))
			if ev.Mask&unix.FAN_CLOSE_WRITE == 0 {
				unix.Close(fd)
				return
			}
		}
		k.closed.Add(1)
		var st unix.Stat_t
		err := unix.Fstat(fd, &st)
		if k.isCanary(ev, &st) || err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG ||
			st.Size < k.opts.MinSize && (st.Size == 0 || k.opts.Small == nil || !k.opts.Small(readlinkFD(fd))) {
			unix.Close(fd)
			return
		}
		path := k.hostPath(fd, &st)
		if !k.inScope(path) {
			unix.Close(fd)
			return
		}
		k.send(Event{Op: Write, Path: path, File: os.NewFile(uintptr(fd), path), PID: int(ev.PID), Closed: true, At: time.Now()})
	})
}

func (k *Kernel) isCanary(ev fanotify.Event, st *unix.Stat_t) bool {
	if ev.PID != k.self || st.Ino == 0 || st.Ino != k.canary.Load() {
		return false
	}
	k.canary.Store(0)
	select {
	case k.sung <- struct{}{}:
	default:
	}
	return true
}

func (k *Kernel) inScope(path string) bool {
	if k.opts.Filter.Skips(path) {
		return false
	}
	for _, root := range k.opts.Roots {
		if Within(path, root) {
			return true
		}
	}
	return false
}

// hostPath is where an open file lies for us. The kernel shows the path in the
// mount of the writer, which for a container is another one: then the file is
// found again by its handle in our own mount.
func (k *Kernel) hostPath(fd int, st *unix.Stat_t) string {
	shown := readlinkFD(fd)
	path := strings.TrimSuffix(shown, " (deleted)")
	var at unix.Stat_t
	if st.Nlink == 0 || unix.Lstat(path, &at) == nil && at.Ino == st.Ino && at.Dev == st.Dev {
		return path
	}
	h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return path
	}
	m, ok := k.mountOf(uint64(st.Dev))
	if !ok {
		return path
	}
	if found, ok := openHandle(m.reach, h); ok {
		defer unix.Close(found)
		if p := readlinkFD(found); unix.Lstat(p, &at) == nil && at.Ino == st.Ino {
			return p
		}
	}
	if m.foreign {
		return filepath.Join(m.reach, strings.TrimPrefix(path, m.point))
	}
	return path
}

// mountOf returns a copy of what is known of a marked device's mount: followMounts
// changes the original when the process ends through which it was reached.
func (k *Kernel) mountOf(dev uint64) (mount, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if m := k.marks[dev]; m != nil {
		return m.mount, true
	}
	return mount{}, false
}

// mountByFS is mountOf by the file system's own identifier, as events carry it.
func (k *Kernel) mountByFS(fs [8]byte) (mount, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if m := k.byFS[fs]; m != nil {
		return m.mount, true
	}
	return mount{}, false
}

func readlinkFD(fd int) string {
	p, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return ""
	}
	return p
}

// openHandle opens an object by handle through any path of its file system. The
// path is closed again at once: a held one would stand in the way of umount.
func openHandle(reach string, h unix.FileHandle) (int, bool) {
	dir, err := unix.Open(reach, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, false
	}
	defer unix.Close(dir)
	fd, err := unix.OpenByHandleAt(dir, h, unix.O_PATH|unix.O_CLOEXEC)
	return fd, err == nil
}
