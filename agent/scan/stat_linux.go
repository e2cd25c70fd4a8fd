package scan

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"weightwarden/agent/process"
	"weightwarden/agent/state"
)

// Stat describes an open file.
func Stat(f *os.File) (Info, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return Info{}, err
	}
	var x unix.Statx_t
	var fs unix.Statfs_t
	var serr error
	err = raw.Control(func(fd uintptr) {
		const mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME
		if serr = unix.Statx(int(fd), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, mask, &x); serr == nil {
			serr = unix.Fstatfs(int(fd), &fs)
		}
	})
	if err == nil {
		err = serr
	}
	if err != nil {
		return Info{}, fmt.Errorf("stat: %w", err)
	}
	info := Info{
		Regular: x.Mode&unix.S_IFMT == unix.S_IFREG,
		Stamp:   state.Stamp{Size: int64(x.Size), Mtime: nanos(x.Mtime), Ctime: nanos(x.Ctime)},
		UID:     int(x.Uid),
		Links:   int(x.Nlink),
		Major:   int(x.Dev_major), Minor: int(x.Dev_minor),
	}
	info.ID = process.FileID{Dev: unix.Mkdev(x.Dev_major, x.Dev_minor), Inode: x.Ino}
	info.Key = state.Key{FS: uint64(uint32(fs.Fsid.Val[0])) | uint64(uint32(fs.Fsid.Val[1]))<<32, Inode: x.Ino}
	if x.Mask&unix.STATX_BTIME != 0 {
		info.Key.Birth = nanos(x.Btime)
	}
	if info.Key.FS == 0 {
		info.Key.FS = info.ID.Dev // a file system without an id
	}
	return info, nil
}

func nanos(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

// OpenFile opens a regular file for reading without following a link, waiting on
// a pipe or moving its access time.
func OpenFile(path string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY
	fd, err := unix.Open(path, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) { // not the owner
		fd, err = unix.Open(path, flags, 0)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// writers says whether anybody still has the file open for writing or mapped so.
// A read lease can only be had when nobody does; it is given back at once. Where
// leases do not work (another's file, network, overlay) the answer is unknown.
func writers(f *os.File) writerState {
	raw, err := f.SyscallConn()
	if err != nil {
		return writersUnknown
	}
	out := writersUnknown
	_ = raw.Control(func(fd uintptr) {
		var fs unix.Statfs_t
		if unix.Fstatfs(int(fd), &fs) != nil || fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
			return // on overlayfs a lease misses live mappings
		}
		_, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_RDLCK)
		switch {
		case err == nil:
			_, _ = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK) // closing the file does it, too
			out = writersNone
		case errors.Is(err, unix.EAGAIN):
			out = writersActive
		}
	})
	return out
}

// currentPath asks the kernel where an open file lies now; "" when it was deleted.
func currentPath(f *os.File) (path string, deleted bool) {
	raw, err := f.SyscallConn()
	if err != nil {
		return "", false
	}
	_ = raw.Control(func(fd uintptr) {
		path, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	})
	if err != nil {
		return "", false
	}
	if p, gone := strings.CutSuffix(path, " (deleted)"); gone {
		return p, true
	}
	return path, false
}

// duplicate returns a second descriptor of the same open file.
func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var derr error
	err = raw.Control(func(old uintptr) {
		fd, derr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err == nil {
		err = derr
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
