package watch

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Canary writes a file in dir and waits for its own event, then does the same on
// every marked file system that takes files without a name. An error means that
// the watcher is blind there. Others are known by their marks alone, see Status.
func (k *Kernel) Canary(dir string, wait time.Duration) error {
	f, err := os.CreateTemp(dir, ".canary-*")
	if err != nil {
		return err
	}
	errs := []error{os.Remove(f.Name()), k.sing(f, dir, wait)}
	for _, reach := range k.reaches() {
		fd, err := unix.Open(reach, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			continue // read-only, or no such files there
		}
		errs = append(errs, k.sing(os.NewFile(uintptr(fd), reach), reach, wait))
	}
	return errors.Join(errs...)
}

// reaches lists a path of each marked file system of our own namespace.
func (k *Kernel) reaches() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, m := range k.marks {
		if m.content && !m.foreign && !remoteKind(m.kind) {
			out = append(out, m.reach)
		}
	}
	return out
}

// sing writes to a canary, closes it and waits for the event.
func (k *Kernel) sing(f *os.File, place string, wait time.Duration) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return err
	}
	select {
	case <-k.sung: // a late one of before
	default:
	}
	k.canary.Store(st.Ino)
	_, err := f.WriteString("canary")
	if err := errors.Join(err, f.Close()); err != nil {
		k.canary.Store(0)
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return nil // a full disk is no blindness
		}
		return err
	}
	select {
	case <-k.sung:
		return nil
	case <-k.done:
		return nil
	case <-time.After(wait):
		k.canary.Store(0)
		return fmt.Errorf("the canary in %s was not seen within %v", place, wait)
	}
}
