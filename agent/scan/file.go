package scan

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/time/rate"

	"weightwarden/formats"
	"weightwarden/formats/file"
)

// source is a file as a judge sees it: fixed size, the files beside it within
// reach (shards, external tensors), and bytes per second bounded.
type source struct {
	ctx   context.Context // of one judgement, not longer
	file  *file.File
	limit *rate.Limiter
	count *Counters
	yield func(context.Context) // called before each read; nil: others stand back
}

// openSource makes a source of an open file. The descriptor is duplicated: what
// is read is what the kernel handed over, whatever the name leads to by now.
func openSource(ctx context.Context, f *os.File, path string, limit *rate.Limiter, count *Counters, yield func(context.Context)) (*source, func() error, error) {
	dup, err := duplicate(f)
	if err != nil {
		return nil, nil, err
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		root = nil // a folder that is gone only costs the siblings
	}
	base, err := file.New(dup, root)
	if err != nil {
		return nil, nil, err
	}
	base.LeaveCache() // a scan must not push the files of the jobs of this machine out of memory
	return &source{ctx: ctx, file: base, limit: limit, count: count, yield: yield}, base.Close, nil
}

// Size implements api.File.
func (s *source) Size() int64 { return s.file.Size() }

// OpenSibling implements formats.Siblings.
func (s *source) OpenSibling(name string) (formats.Source, error) {
	sib, err := formats.OpenSibling(s.file, name)
	if err != nil {
		return nil, err
	}
	f, ok := sib.(*file.File)
	if !ok {
		return nil, formats.ErrNoSiblings
	}
	return &source{ctx: s.ctx, file: f, limit: s.limit, count: s.count, yield: s.yield}, nil
}

// SiblingNames implements formats.Lister.
func (s *source) SiblingNames(max int) ([]string, error) {
	return s.file.SiblingNames(max)
}

// Descriptor implements sandbox.Descriptor: a child reads the structure through
// the descriptor itself, outside the bytes that are counted and bounded here.
func (s *source) Descriptor() *os.File {
	return s.file.Descriptor()
}

// ReadAt implements api.File.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if err := s.begin(); err != nil {
		return 0, err
	}
	n, err := s.file.ReadAt(p, off)
	if werr := s.pay(n); werr != nil {
		return 0, werr
	}
	return n, err
}

// Lend implements formats.Lender. What is lent counts as read, and costs the same of the rate.
func (s *source) Lend(off, length int64, use func(data []byte) error) (bool, error) {
	if err := s.begin(); err != nil {
		return false, nil // the read that follows tells why
	}
	lent, err := s.file.Lend(off, length, use)
	if !lent {
		return false, nil
	}
	return true, errors.Join(err, s.pay(int(length)))
}

// begin waits while others need the machine.
func (s *source) begin() error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if s.yield != nil {
		s.yield(s.ctx)
	}
	return nil
}

// pay counts n bytes, and waits for as long as the rate wants it.
func (s *source) pay(n int) error {
	s.count.Bytes.Add(uint64(n))
	if s.limit == nil {
		return nil
	}
	for left := n; left > 0; {
		step := min(left, s.limit.Burst())
		if err := s.limit.WaitN(s.ctx, step); err != nil {
			return err
		}
		left -= step
	}
	return nil
}
