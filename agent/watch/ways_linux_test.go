package watch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ways of docs/agent.md to copy a file. Each runs in a process of its own
// (the test binary again), since a watcher ignores what it does itself.

const wayEnv = "WATCH_TEST_WAY"

// wayImpossible is the exit code of a way that the file system does not offer.
const wayImpossible = 7

func TestMain(m *testing.M) {
	way := os.Getenv(wayEnv)
	if way == "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread()
	err := ways()[way](os.Args[1], os.Args[2])
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.ENOSYS) {
		fmt.Println("not on this file system:", err)
		os.Exit(wayImpossible)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

const wayBytes = 64 << 10

func wayData(src string) ([]byte, error) { return os.ReadFile(src) }

// ways maps a name to what copies src into dir, as "copy" or as the name says.
func ways() map[string]func(src, dir string) error {
	return map[string]func(src, dir string) error{
		"cp":                 func(src, dir string) error { return writeAll(src, dir+"/copy", 0) },
		"never closed":       neverClosed,
		"killed after write": killed,
		"no extension, long and odd name": func(src, dir string) error {
			return writeAll(src, dir+"/ \x01\"'é"+string(make124()), 0)
		},
		"rename":                     func(_, dir string) error { return os.Rename(dir+"/known", dir+"/copy") },
		"hard link":                  func(_, dir string) error { return os.Link(dir+"/known", dir+"/copy") },
		"O_TMPFILE and linkat":       tmpfile,
		"written and unlinked":       unlinked,
		"mmap after close":           mapped,
		"copy_file_range":            copyRange,
		"sendfile":                   sendfile,
		"splice":                     splice,
		"io_uring":                   uringWrite,
		"reflink":                    reflink,
		"O_DIRECT":                   direct,
		"reopened through /proc":     procReopen,
		"open_by_handle_at":          byHandle,
		"bind mount":                 bindMount,
		"private mount namespace":    privateNamespace,
		"private tmpfs":              privateTmpfs,
		"fast new tree":              fastTree,
		"appended":                   appended,
		"truncated and written anew": func(src, dir string) error { return writeAll(src, dir+"/known", os.O_TRUNC) },
		"time forged":                forged,
	}
}

func make124() []byte {
	b := make([]byte, 124)
	for i := range b {
		b[i] = 'n'
	}
	return b
}

func writeAll(src, dst string, flags int) error {
	b, err := wayData(src)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(dst, os.O_CREATE|os.O_WRONLY|flags, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Close()
}

func neverClosed(src, dir string) error {
	b, err := wayData(src)
	if err != nil {
		return err
	}
	fd, err := unix.Open(dir+"/copy", unix.O_CREAT|unix.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, b)
	return err
}

func killed(src, dir string) error {
	if err := neverClosed(src, dir); err != nil {
		return err
	}
	return unix.Kill(os.Getpid(), unix.SIGKILL)
}

func tmpfile(src, dir string) error {
	b, err := wayData(src)
	if err != nil {
		return err
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, b); err != nil {
		return err
	}
	if err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, dir+"/copy", unix.AT_SYMLINK_FOLLOW); err != nil {
		return err
	}
	return unix.Close(fd)
}

func unlinked(src, dir string) error {
	if err := neverClosed(src, dir); err != nil {
		return err
	}
	return os.Remove(dir + "/copy")
}

func mapped(src, dir string) error {
	b, err := wayData(src)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(dir+"/copy", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	if err := f.Truncate(int64(len(b))); err != nil {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, len(b), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	copy(m, b)
	return unix.Munmap(m)
}

// between opens source and target and calls f.
func between(src, dir string, f func(in, out int) error) error {
	in, err := unix.Open(src, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	out, err := unix.Open(dir+"/copy", unix.O_CREAT|unix.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	if err := f(in, out); err != nil {
		return err
	}
	return unix.Close(out)
}

func copyRange(_, dir string) error {
	return between(dir+"/known", dir, func(in, out int) error {
		_, err := unix.CopyFileRange(in, nil, out, nil, wayBytes, 0)
		return err
	})
}

func sendfile(src, dir string) error {
	return between(src, dir, func(in, out int) error {
		_, err := unix.Sendfile(out, in, nil, wayBytes)
		return err
	})
}

func splice(src, dir string) error {
	return between(src, dir, func(in, out int) error {
		var p [2]int
		if err := unix.Pipe(p[:]); err != nil {
			return err
		}
		for left := wayBytes; left > 0; {
			n, err := unix.Splice(in, nil, p[1], nil, min(left, 4096), 0)
			if err != nil {
				return err
			}
			if _, err := unix.Splice(p[0], nil, out, nil, int(n), 0); err != nil {
				return err
			}
			left -= int(n)
		}
		return nil
	})
}

func reflink(_, dir string) error {
	return between(dir+"/known", dir, func(in, out int) error { return unix.IoctlFileClone(out, in) })
}

func direct(src, dir string) error {
	b, err := wayData(src)
	if err != nil {
		return err
	}
	fd, err := unix.Open(dir+"/copy", unix.O_CREAT|unix.O_WRONLY|unix.O_DIRECT, 0o644)
	if err != nil {
		return err
	}
	raw := make([]byte, wayBytes+4096)
	skip := 4096 - int(uintptr(unsafe.Pointer(&raw[0]))%4096)
	aligned := raw[skip : skip+wayBytes]
	copy(aligned, b)
	if _, err := unix.Write(fd, aligned); err != nil {
		return err
	}
	return unix.Close(fd)
}

func procReopen(src, dir string) error {
	f, err := os.OpenFile(dir+"/copy", os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return writeAll(src, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), 0)
}

func byHandle(src, dir string) error {
	b, err := wayData(src)
	if err != nil {
		return err
	}
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, dir+"/known", 0)
	if err != nil {
		return err
	}
	d, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	fd, err := unix.OpenByHandleAt(d, h, unix.O_WRONLY)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, b); err != nil {
		return err
	}
	return unix.Close(fd)
}

func unshare() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

func bindMount(src, dir string) error {
	if err := unshare(); err != nil {
		return err
	}
	if err := os.Mkdir(dir+"/bound", 0o755); err != nil {
		return err
	}
	other, err := os.MkdirTemp("", "bind")
	if err != nil {
		return err
	}
	if err := unix.Mount(dir, other, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	err = writeAll(src, other+"/copy", 0)
	return errors.Join(err, unix.Unmount(other, unix.MNT_DETACH), os.Remove(other))
}

func privateNamespace(src, dir string) error {
	if err := unshare(); err != nil {
		return err
	}
	return writeAll(src, dir+"/copy", 0)
}

// privateTmpfs writes copies until one was caught: the watcher looks for foreign
// mounts at intervals. A mount that is gone before is a documented gap.
func privateTmpfs(src, dir string) error {
	if err := unshare(); err != nil {
		return err
	}
	if err := unix.Mount("x", dir, "tmpfs", 0, ""); err != nil {
		return err
	}
	caught := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(caught)
	}()
	for i := 0; ; i++ {
		select {
		case <-caught:
			return nil
		case <-time.After(50 * time.Millisecond):
		}
		if err := writeAll(src, fmt.Sprintf("%s/copy%d", dir, i%8), os.O_TRUNC); err != nil {
			return err
		}
	}
}

func fastTree(src, dir string) error {
	deep := filepath.Join(dir, "a", "b", "c")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		return err
	}
	if err := writeAll(src, deep+"/copy", 0); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, "a"))
}

func appended(src, dir string) error {
	f, err := os.OpenFile(dir+"/known", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.Write([]byte("x")); err != nil {
		return err
	}
	return f.Close()
}

func forged(src, dir string) error {
	if err := writeAll(src, dir+"/copy", 0); err != nil {
		return err
	}
	return syscall.UtimesNano(dir+"/copy", []syscall.Timespec{{Sec: 1}, {Sec: 1}})
}
