package watch

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"weightwarden/agent/process"
	"weightwarden/agent/watch/fanotify"
)

// Opens tells who opens chosen files: copies of protected models that are known
// already. Reading them out to a socket writes nothing that a Kernel would see.
type Opens struct {
	group  *fanotify.Group
	events chan Opened
	done   chan struct{}
	ended  sync.WaitGroup
	once   sync.Once
	self   int32
}

// NewOpens watches nothing yet.
func NewOpens() (*Opens, error) {
	g, err := fanotify.Open(unix.FAN_CLASS_NOTIF|unix.FAN_UNLIMITED_QUEUE|unix.FAN_UNLIMITED_MARKS, unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC|unix.O_NOATIME)
	if err != nil {
		return nil, err
	}
	o := &Opens{group: g, events: make(chan Opened, 256), done: make(chan struct{}), self: int32(os.Getpid())}
	o.ended.Add(1)
	go o.read()
	return o, nil
}

// Add watches the inode of an open file, under all its names.
func (o *Opens) Add(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var merr error
	err = raw.Control(func(fd uintptr) { merr = o.group.MarkFD(unix.FAN_MARK_ADD, unix.FAN_OPEN, int(fd)) })
	return errors.Join(err, merr)
}

// Events receives every opening by another process.
func (o *Opens) Events() <-chan Opened { return o.events }

func (o *Opens) read() {
	defer o.ended.Done()
	for {
		events, err := o.group.Read()
		for _, ev := range events {
			if ev.FD >= 0 {
				o.take(int(ev.FD), ev.PID)
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

func (o *Opens) take(fd int, pid int32) {
	defer unix.Close(fd)
	var st unix.Stat_t
	if pid == o.self || unix.Fstat(fd, &st) != nil {
		return
	}
	ev := Opened{ID: process.FileID{Dev: uint64(st.Dev), Inode: st.Ino}, Path: readlinkFD(fd), PID: int(pid), At: time.Now()}
	select {
	case o.events <- ev:
	case <-o.done:
	}
}

// Close ends it.
func (o *Opens) Close() error {
	var err error
	o.once.Do(func() {
		close(o.done)
		err = o.group.Close()
		o.ended.Wait()
		close(o.events)
	})
	return err
}
