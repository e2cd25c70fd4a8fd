package fanotify

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Group is an open fanotify group.
type Group struct {
	file *os.File
	buf  []byte
}

// Open makes a group. The descriptor does not block, so that Go's poller waits
// for it and Close wakes a reader; a blocking one would let a reader go on with
// whatever takes its number next.
func Open(flags, eventFlags uint) (*Group, error) {
	fd, err := unix.FanotifyInit(flags|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, eventFlags)
	if err != nil {
		return nil, fmt.Errorf("fanotify_init: %w", err)
	}
	return &Group{file: os.NewFile(uintptr(fd), "fanotify"), buf: make([]byte, 256<<10)}, nil
}

// Mark adds or changes a mark on the object at path.
func (g *Group) Mark(flags uint, mask uint64, path string) error {
	return g.control(func(fd int) error { return unix.FanotifyMark(fd, flags, mask, unix.AT_FDCWD, path) })
}

// MarkFD adds or changes a mark on an open object.
func (g *Group) MarkFD(flags uint, mask uint64, object int) error {
	return g.control(func(fd int) error { return unix.FanotifyMark(fd, flags, mask, object, "") })
}

func (g *Group) control(f func(fd int) error) error {
	raw, err := g.file.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := raw.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return err
	}
	return ferr
}

// Read waits for events. Trouble with a single event (no descriptor left, a file
// that cannot be opened) is ErrEvent and not the end of the group.
func (g *Group) Read() ([]Event, error) {
	n, err := g.file.Read(g.buf)
	switch {
	case err == nil:
		return Parse(g.buf[:n])
	case errors.Is(err, os.ErrClosed):
		return nil, err
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.EOVERFLOW), errors.Is(err, unix.ENODEV),
		errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.ETXTBSY), errors.Is(err, unix.ESTALE):
		return nil, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	return nil, err
}

// ErrEvent marks trouble with one event; the group goes on.
var ErrEvent = errors.New("an event could not be read")

// SetDeadline bounds the next Read.
func (g *Group) SetDeadline(t time.Time) error { return g.file.SetReadDeadline(t) }

// Answer decides a permission event.
func (g *Group) Answer(event int32, response uint32) error {
	b := make([]byte, 8)
	putNative(b, uint32(event), response)
	_, err := g.file.Write(b)
	return err
}

// Marked lists the device numbers (as in /proc/PID/fdinfo: hex of the kernel's
// own encoding) of the file systems that the group still marks.
func (g *Group) Marked() (map[uint64]bool, error) {
	out := map[uint64]bool{}
	err := g.control(func(fd int) error {
		b, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
		if err != nil {
			return err
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			var dev uint64
			if i := strings.Index(line, "sdev:"); i >= 0 {
				if _, err := fmt.Sscanf(line[i:], "sdev:%x", &dev); err == nil {
					// The kernel writes major<<20|minor; user space knows another packing.
					out[unix.Mkdev(uint32(dev>>20), uint32(dev&0xfffff))] = true
				}
			}
		}
		return nil
	})
	return out, err
}

// Close ends the group. Whoever waits for a permission event is let through.
func (g *Group) Close() error { return g.file.Close() }
