package scan

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weightwarden/agent/process"
	"weightwarden/agent/watch"
)

// SweepOpen looks at files that no walk of folders finds: memfd and deleted files
// that a process still has open or mapped, and files held open for writing for
// longer than MaxWait. proc is "/proc".
func (s *Scanner) SweepOpen(ctx context.Context, proc string, filter watch.Filter) (Swept, error) {
	var n Swept
	seen := map[[2]uint64]bool{}
	pids, err := os.ReadDir(proc)
	if err != nil {
		return n, err
	}
	self := strconv.Itoa(os.Getpid())
	for _, p := range pids {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || p.Name() == self {
			continue
		}
		for _, kind := range []string{"fd", "map_files"} {
			if err := s.sweepHeld(ctx, pid, filepath.Join(proc, p.Name(), kind), filter, seen, &n); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (s *Scanner) sweepHeld(ctx context.Context, pid int, dir string, filter watch.Filter, seen map[[2]uint64]bool, n *Swept) error {
	for name := range process.Entries(dir) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		link := filepath.Join(dir, name)
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, "/") {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(link, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size < s.opts.MinSize {
			continue
		}
		id := [2]uint64{uint64(st.Dev), st.Ino}
		path, deleted := strings.CutSuffix(target, " (deleted)")
		// What has a name and no writer is found by its name.
		if seen[id] || filter.Skips(path) || !deleted && !strings.HasPrefix(target, "/memfd:") && !longOpen(dir, name, &st, s.opts.MaxWait) {
			continue
		}
		seen[id] = true
		if err := s.submitHeld(ctx, pid, link, path, n); err != nil {
			return err
		}
	}
	return nil
}

// longOpen reports whether a descriptor is open for writing and its file has been
// changed for as long as a writer may take.
func longOpen(dir, name string, st *unix.Stat_t, maxWait time.Duration) bool {
	if filepath.Base(dir) != "fd" || time.Since(time.Unix(st.Ctim.Unix())) > 24*time.Hour {
		return false
	}
	b, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "fdinfo", name))
	if err != nil {
		return false
	}
	_, rest, ok := strings.Cut(string(b), "flags:")
	if !ok {
		return false
	}
	field, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	flags, err := strconv.ParseUint(field, 8, 64)
	if err != nil || flags&unix.O_ACCMODE == unix.O_RDONLY {
		return false
	}
	info, err := os.Lstat(filepath.Join(dir, name)) // made when it was opened
	return err == nil && time.Since(info.ModTime()) > maxWait
}

func (s *Scanner) submitHeld(ctx context.Context, pid int, link, path string, n *Swept) error {
	n.Looked++
	fd, err := unix.Open(link, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		n.Unreadable++
		return nil
	}
	f := os.NewFile(uintptr(fd), path)
	info, err := Stat(f)
	if err != nil {
		f.Close()
		return nil
	}
	if e, ok := s.deps.Store.Get(info.Key); ok && Unchanged(e, info.Stamp, s.deps.Registry().Epoch) {
		f.Close()
		return nil
	}
	n.Judged++
	now := time.Now()
	// Its writer may never be done: it is judged as it is.
	it := &item{ev: watch.Event{Op: watch.Sweep, Path: path, PID: pid, At: now}, file: f, info: info, first: now, due: now, sweep: true, active: true}
	it.process, it.note = s.deps.Who.Who(info.ID, path, pid, now)
	if it.process != nil {
		it.process.Certainty = "likely" // it has the file open; who wrote it is another question
	}
	select {
	case s.sweeps <- it:
		return nil
	case <-ctx.Done():
		it.close()
		return ctx.Err()
	}
}
