package sandbox

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// restrict gives up, in this order: resources, identity, the right to gain any,
// the file system and network (Landlock), and system calls (seccomp). It returns
// what holds, and fails where identity or system calls could not be given up.
func restrict(req request) ([]string, error) {
	// Until seccomp takes all threads along, rights belong to the thread that gave them up.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	applied, err := limitResources(req)
	if err != nil {
		return nil, err
	}
	if syscall.Geteuid() == 0 {
		if err := dropIdentity(req.UID, req.GID); err != nil {
			return nil, fmt.Errorf("giving up root: %w", err)
		}
		applied = append(applied, fmt.Sprintf("uid=%d", req.UID))
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("no_new_privs: %w", err)
	}
	applied = append(applied, "no_new_privs")
	if abi, err := landlock(); err == nil {
		applied = append(applied, fmt.Sprintf("landlock=%d", abi))
	}
	switch err := seccomp(); {
	case err == nil:
		applied = append(applied, "seccomp")
	case !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL):
		return nil, fmt.Errorf("seccomp: %w", err)
	}
	return applied, nil
}

func limitResources(req request) ([]string, error) {
	limits := []struct {
		what  int
		value int64
	}{
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_DATA, req.MemoryBytes},
		{unix.RLIMIT_CPU, req.Seconds * int64(runtime.GOMAXPROCS(0))},
		{unix.RLIMIT_NOFILE, 8192},
		{unix.RLIMIT_FSIZE, req.Limits.InflatedBytes},
	}
	for _, l := range limits {
		if l.value < 0 || l.value == math.MaxInt64 {
			continue
		}
		var have unix.Rlimit
		if err := unix.Getrlimit(l.what, &have); err != nil {
			return nil, fmt.Errorf("getrlimit %d: %w", l.what, err)
		}
		v := min(uint64(l.value), have.Max)
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: v, Max: v}); err != nil {
			return nil, fmt.Errorf("setrlimit %d: %w", l.what, err)
		}
	}
	return []string{"rlimits"}, nil
}

// dropIdentity changes all threads: syscall does so, x/sys/unix would not.
func dropIdentity(uid, gid int) error {
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return err
	}
	return syscall.Setresuid(uid, uid, uid)
}

// landlockAttr is struct landlock_ruleset_attr of ABI 6.
type landlockAttr struct{ fs, net, scoped uint64 }

// landlock takes every right that the kernel's version of Landlock handles, on
// all threads, and grants none. It fails in programs that use cgo, since Go
// cannot reach threads that C made.
func landlock() (abi int, err error) {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	abi = int(v)
	attr, size := landlockAttr{fs: 1<<13 - 1}, uintptr(8)
	if abi >= 2 {
		attr.fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		attr.fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		attr.net, size = unix.LANDLOCK_ACCESS_NET_BIND_TCP|unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, 16
	}
	if abi >= 5 {
		attr.fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		attr.scoped, size = 1|2, 24 // abstract unix sockets, signals
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return 0, errno
	}
	defer unix.Close(int(fd))
	// Every thread needs no_new_privs of its own before; seccomp comes later.
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return 0, errno
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return 0, errno
	}
	return abi, nil
}
