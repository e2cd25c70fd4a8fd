package process

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Connector is the kernel's stream of process events. It needs CAP_NET_ADMIN, or
// a kernel since 6.6, and the initial namespaces.
type Connector struct {
	fd   int
	file *os.File
}

// OpenConnector subscribes to process events.
func OpenConnector() (*Connector, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_CONNECTOR)
	if err != nil {
		return nil, fmt.Errorf("process connector: %w", err)
	}
	c := &Connector{fd: fd}
	// Room for a burst of starts; without the right to force it, as much as is allowed.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<20)
	}
	const procGroup = 1 // CN_IDX_PROC
	if err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: procGroup}); err == nil {
		err = c.subscribe()
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("process connector: %w", err)
	}
	c.file = os.NewFile(uintptr(fd), "connector")
	return c, nil
}

func (c *Connector) subscribe() error {
	const listen, idxProc, valProc = 1, 1, 1
	b := make([]byte, netlinkHeader+connectorHeader+4)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_DONE)
	binary.NativeEndian.PutUint32(b[12:], uint32(os.Getpid()))
	binary.NativeEndian.PutUint32(b[16:], idxProc)
	binary.NativeEndian.PutUint32(b[20:], valProc)
	binary.NativeEndian.PutUint16(b[32:], 4)
	binary.NativeEndian.PutUint32(b[36:], listen)
	return unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// Feed moves events into the cache until ctx ends.
func (c *Connector) Feed(ctx context.Context, cache *Cache) {
	// A program may live for a millisecond: this thread goes before others. Without
	// the right to do so it does not, and more short-lived programs stay unknown.
	runtime.LockOSThread() // for good: the thread ends with this goroutine
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -15)
	stop := context.AfterFunc(ctx, func() { _ = c.file.Close() }) // wakes the reader
	defer stop()
	defer c.file.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := c.file.Read(b)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, unix.ENOBUFS) {
			cache.Lost.Add(1)
			cache.SetState("process events were lost; /proc was read again")
			cache.Reseed(Seed())
			continue
		}
		if err != nil {
			cache.SetState("process events ended: " + err.Error())
			return
		}
		events, err := parseConnector(b[:n])
		if err != nil {
			cache.SetState(err.Error())
		}
		for _, ev := range events {
			apply(cache, ev, time.Now())
		}
	}
}

func apply(cache *Cache, ev ProcEvent, now time.Time) {
	if ev.Thread != ev.PID {
		return // a thread
	}
	switch ev.What {
	case ProcFork:
		cache.Fork(ev.Parent, ev.PID, now)
	case ProcExec:
		cache.Exec(ev.PID, now)
	case ProcExit:
		cache.Exit(ev.PID, now)
	}
}
