package file

import (
	"errors"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// neutral reads without leaving pages behind. Linux 6.14 and file systems that know
// RWF_DONTCACHE do it by themselves. Elsewhere a read with RWF_NOWAIT tells what was
// cached, and the rest is read and then dropped with POSIX_FADV_DONTNEED.
type neutral struct {
	f      *os.File
	advise atomic.Bool // the kernel or the file system does not know RWF_DONTCACHE
	small  windows
}

func newNeutral(f *os.File) reader { return &neutral{f: f} }

func (n *neutral) readAt(p []byte, off int64) (int, error) {
	if len(p) <= smallRead && n.readSmall(p, off) {
		return len(p), nil
	}
	done := 0
	for done < len(p) {
		k, err := n.read(p[done:], off+int64(done))
		done += k
		if err != nil {
			return done, &os.PathError{Op: "read", Path: n.f.Name(), Err: err}
		}
		if k == 0 {
			return done, io.EOF
		}
	}
	return done, nil
}

// read reads some bytes, 0 at the end of the file.
func (n *neutral) read(p []byte, off int64) (int, error) {
	if !n.advise.Load() {
		k, err := n.preadv2(p, off, unix.RWF_DONTCACHE)
		if !unsupported(err) {
			return k, err
		}
		// Read-ahead would bring in pages that the next read takes for another's.
		n.fadvise(0, 0, unix.FADV_RANDOM)
		n.advise.Store(true)
	}
	k, err := n.preadv2(p, off, unix.RWF_NOWAIT)
	if err == nil && k > 0 || err != nil && !errors.Is(err, unix.EAGAIN) && !unsupported(err) {
		return k, err
	}
	k, err = n.preadv2(p, off, 0)
	if k > 0 { // whole pages only are dropped: those at the ends count as ours
		page := int64(os.Getpagesize())
		start := off / page * page
		n.fadvise(start, (off+int64(k)+page-1)/page*page-start, unix.FADV_DONTNEED)
	}
	return k, err
}

func unsupported(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS)
}

func (n *neutral) preadv2(p []byte, off int64, flags int) (k int, err error) {
	c, err := n.f.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := c.Control(func(fd uintptr) {
		for {
			k, err = unix.Preadv2(int(fd), [][]byte{p}, off, flags)
			if err != unix.EINTR {
				return
			}
		}
	})
	return max(k, 0), errors.Join(cerr, err)
}

// fadvise gives advice; that it is not taken does no harm to what is read.
func (n *neutral) fadvise(off, length int64, advice int) {
	if c, err := n.f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), off, length, advice) })
	}
}
