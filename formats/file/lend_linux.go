package file

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"weightwarden/formats"
)

// mostLent bounds what is mapped at a time.
const mostLent = 64 << 20

// Lend implements formats.Lender for bytes that are in the page cache as a whole:
// nothing is brought in that LeaveCache would have to put out again. It needs Linux
// 6.5 (cachestat) and is false on older ones, and for files of others there.
func (f *File) Lend(off, length int64, use func(data []byte) error) (bool, error) {
	if off < 0 || length <= 0 || length > mostLent || off > f.Size()-length {
		return false, nil
	}
	page := int64(os.Getpagesize())
	start := off / page * page
	m := f.mapCached(start, off+length-start)
	if m == nil {
		return false, nil
	}
	err := guarded(m[off-start:], use)
	if uerr := unix.Munmap(m); err == nil {
		err = uerr
	}
	return true, err
}

// mapCached maps length bytes of the file from page start on, or returns nil.
func (f *File) mapCached(start, length int64) (m []byte) {
	c, err := f.f.SyscallConn()
	if err != nil {
		return nil
	}
	err = c.Control(func(fd uintptr) {
		var have unix.Cachestat_t
		page := int64(os.Getpagesize())
		if err := unix.Cachestat(uint(fd), &unix.CachestatRange{Off: uint64(start), Len: uint64(length)}, &have, 0); err != nil || int64(have.Cache) < (length+page-1)/page {
			return
		}
		if m, err = unix.Mmap(int(fd), start, int(length), unix.PROT_READ, unix.MAP_SHARED); err != nil {
			m = nil
		}
	})
	if err != nil {
		return nil
	}
	return m
}

// guarded calls use with mapped bytes. Where the file was cut short the processor faults: that ends use.
func guarded(data []byte, use func(data []byte) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch fault := recover().(type) {
		case nil:
		case interface {
			runtime.Error
			Addr() uintptr // of memory, see debug.SetPanicOnFault
		}:
			err = fmt.Errorf("%w: the file became shorter while it was read", formats.ErrTruncated)
		default:
			panic(fault)
		}
	}()
	return use(data)
}
