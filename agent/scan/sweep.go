package scan

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"weightwarden/agent/watch"
)

// Swept is the account of one sweep.
type Swept struct {
	Looked     int64 // regular files of the least size or more
	Judged     int64 // handed to the judge
	Unreadable int64
}

// SweepOptions say what a sweep covers.
type SweepOptions struct {
	Roots  []string
	Since  time.Time // only files changed since; zero: all
	Filter watch.Filter
}

// Sweep walks folders and hands every file that changed since it was last judged
// to the judges. It waits where they are busy, and returns when all files are
// handed over.
func (s *Scanner) Sweep(ctx context.Context, o SweepOptions) (Swept, error) {
	var n Swept
	for _, root := range o.Roots {
		if err := s.sweepTree(ctx, root, o, &n); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (s *Scanner) sweepTree(ctx context.Context, root string, o SweepOptions, n *Swept) error {
	st, err := os.Lstat(root)
	if err != nil {
		n.Unreadable++
		return nil
	}
	if !st.IsDir() {
		return s.sweepFile(ctx, root, o, n)
	}
	stack := []string{root}
	for len(stack) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		dir := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if o.Filter.Skips(dir) || dir != root && watch.PseudoFS(dir) {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			n.Unreadable++
			s.unreadable(dir, err)
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if e.IsDir() {
				stack = append(stack, path)
			} else if e.Type().IsRegular() && !o.Filter.Skips(path) {
				if err := s.sweepFile(ctx, path, o, n); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sweepFile looks at one file. Size first: most files end there, without open.
func (s *Scanner) sweepFile(ctx context.Context, path string, o SweepOptions, n *Swept) error {
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() || s.tooSmall(st.Size(), path) {
		return nil
	}
	n.Looked++
	f, err := OpenFile(path)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			n.Unreadable++
			s.unreadable(path, err)
		}
		return nil
	}
	info, err := Stat(f)
	if err != nil || !info.Regular {
		f.Close()
		return nil
	}
	if !o.Since.IsZero() && info.Stamp.Ctime < o.Since.UnixNano() {
		f.Close()
		return nil
	}
	if e, ok := s.deps.Store.Get(info.Key); ok && Unchanged(e, info.Stamp, s.deps.Registry().Epoch) {
		f.Close()
		s.Count.Unchanged.Add(1)
		return nil
	}
	n.Judged++
	now := time.Now()
	it := &item{ev: watch.Event{Op: watch.Sweep, Path: path, At: now}, file: f, info: info, first: now, moved: now, due: now, sweep: true}
	if writers(f) == writersActive || now.UnixNano()-info.Stamp.Ctime < int64(settleFirst) {
		s.settle(it)
		return nil
	}
	select {
	case s.sweeps <- it:
		return nil
	case <-ctx.Done():
		it.close()
		return ctx.Err()
	}
}
