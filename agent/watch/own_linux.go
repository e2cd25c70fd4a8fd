package watch

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"weightwarden/agent/watch/fanotify"
)

// Own tells when somebody else changes the agent's own files: its program,
// configuration, spool, state, snapshot, evidence.
type Own struct {
	group  *fanotify.Group
	events chan Tampering
	done   chan struct{}
	ended  sync.WaitGroup
	once   sync.Once
	self   int32
	exe    os.FileInfo
	roots  map[[8]byte]string // a path of each file system
}

// NewOwn watches folders (what lies directly in them) and single files. Those that
// do not exist are left out.
func NewOwn(paths []string) (*Own, error) {
	g, err := fanotify.Open(unix.FAN_CLASS_NOTIF|unix.FAN_UNLIMITED_MARKS|unix.FAN_REPORT_DFID_NAME, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	o := &Own{group: g, events: make(chan Tampering, 64), done: make(chan struct{}), self: int32(os.Getpid()), roots: map[[8]byte]string{}}
	o.exe, _ = os.Stat("/proc/self/exe") // without it every other program counts
	marked := 0
	for _, p := range paths {
		mask := uint64(unix.FAN_CLOSE_WRITE | unix.FAN_ATTRIB | unix.FAN_DELETE_SELF | unix.FAN_MOVE_SELF)
		info, err := os.Stat(p)
		if err != nil {
			continue
		}
		if info.IsDir() {
			mask = unix.FAN_CLOSE_WRITE | unix.FAN_DELETE | unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO | unix.FAN_ATTRIB | unix.FAN_CREATE | unix.FAN_EVENT_ON_CHILD | unix.FAN_ONDIR
		}
		var st unix.Statfs_t
		if g.Mark(unix.FAN_MARK_ADD, mask, p) == nil && unix.Statfs(p, &st) == nil {
			o.roots[fsBytes(st.Fsid)] = p
			marked++
		}
	}
	if marked == 0 {
		return nil, errors.Join(errors.New("none of the agent's own files can be watched"), g.Close())
	}
	o.ended.Add(1)
	go o.read()
	return o, nil
}

// Events receives what others did.
func (o *Own) Events() <-chan Tampering { return o.events }

func (o *Own) read() {
	defer o.ended.Done()
	for {
		events, err := o.group.Read()
		for _, ev := range events {
			if ev.Mask&unix.FAN_Q_OVERFLOW != 0 || ev.PID == o.self || o.ours(ev.PID) {
				continue
			}
			t := Tampering{Path: o.path(ev), What: what(ev.Mask), PID: int(ev.PID), At: time.Now()}
			select {
			case o.events <- t:
			case <-o.done:
			default: // the first ones are enough
			}
		}
		select {
		case <-o.done:
			return
		default:
		}
		if err != nil && !errors.Is(err, fanotify.ErrEvent) {
			time.Sleep(100 * time.Millisecond) // an error that stays must not spin
		}
	}
}

// ours reports whether a process runs this program: fpagent quarantine restore.
func (o *Own) ours(pid int32) bool {
	info, err := os.Stat(filepath.Join("/proc", strconv.Itoa(int(pid)), "exe"))
	return err == nil && o.exe != nil && os.SameFile(info, o.exe)
}

func (o *Own) path(ev fanotify.Event) string {
	root, ok := o.roots[ev.Place.Dir.FS]
	if !ok {
		return "a file of the agent"
	}
	dir, ok := openHandle(root, unix.NewFileHandle(ev.Place.Dir.Type, []byte(ev.Place.Dir.Bytes)))
	if !ok {
		return root
	}
	defer unix.Close(dir)
	return filepath.Join(readlinkFD(dir), ev.Place.Name)
}

func what(mask uint64) string {
	var out []string
	for _, w := range []struct {
		bit  uint64
		text string
	}{
		{unix.FAN_CLOSE_WRITE, "written"}, {unix.FAN_DELETE | unix.FAN_DELETE_SELF, "deleted"},
		{unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO | unix.FAN_MOVE_SELF, "moved"}, {unix.FAN_CREATE, "made"}, {unix.FAN_ATTRIB, "given other rights or names"},
	} {
		if mask&w.bit != 0 {
			out = append(out, w.text)
		}
	}
	return strings.Join(out, ", ")
}

// Close ends it.
func (o *Own) Close() error {
	var err error
	o.once.Do(func() {
		close(o.done)
		err = o.group.Close()
		o.ended.Wait()
		close(o.events)
	})
	return err
}
