package formats

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

const (
	spoolPiece  = 256 << 10 // members up to this size may stay in memory
	spoolCopy   = 128 << 10 // others are copied to the file in such pieces
	spoolMemory = 16 << 20  // what all such members of one file may take
)

// Spool holds what the compressed members of one file unpack to: little in
// memory, the rest in one temporary file without a name, which is gone with the
// process. It counts unpacked bytes and members over all nesting, so that a bomb
// cannot start anew in every archive. It is safe for concurrent use.
type Spool struct {
	mu       sync.Mutex
	file     *os.File
	at       int64 // end of the used part of file
	memory   int64 // bytes that may still be held in memory
	inflated int64 // bytes that may still be unpacked
	members  int64 // members that may still be opened
	buf      []byte
}

// NewSpool makes a Spool under limits. With a file, everything unpacked goes
// there and it stays open; without, a file is made in os.TempDir when needed.
func NewSpool(limits Limits, file *os.File) *Spool {
	limits = limits.OrDefault()
	s := &Spool{file: file, inflated: limits.InflatedBytes, members: int64(limits.Members)}
	if file == nil {
		s.memory = spoolMemory
	}
	return s
}

type spoolKey struct{}

// WithSpool returns a context that carries s to the containers of one file.
func WithSpool(ctx context.Context, s *Spool) context.Context {
	return context.WithValue(ctx, spoolKey{}, s)
}

// SpoolOf returns the Spool of ctx, or a new one under limits.
func SpoolOf(ctx context.Context, limits Limits) *Spool {
	if s, ok := ctx.Value(spoolKey{}).(*Spool); ok {
		return s
	}
	return NewSpool(limits, nil)
}

// Member counts one opened member; false where Limits.Members are used up.
func (s *Spool) Member() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members--
	return s.members >= 0
}

// Unpack reads r to its end and returns what came out as a Source. Other than
// elsewhere, the Source is there beside an error too: it holds the bytes before
// the defect or limit. At most most bytes are taken.
func (s *Spool) Unpack(ctx context.Context, r io.Reader, most int64) (Source, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r = &spoolReader{ctx: ctx, r: r, most: most, spool: s}
	first := s.scratch(int(min(spoolPiece, max(s.memory, 0))))
	n, err := io.ReadFull(r, first)
	if done := err != nil; done {
		s.memory -= int64(n)
		return BytesSource(append([]byte(nil), first[:n]...)), notEnd(err)
	}
	return s.toFile(first, r)
}

// scratch returns memory that the next call takes again: archives have many members.
func (s *Spool) scratch(n int) []byte {
	if cap(s.buf) < n {
		s.buf = make([]byte, n)
	}
	return s.buf[:n]
}

func (s *Spool) toFile(first []byte, r io.Reader) (Source, error) {
	if s.file == nil {
		f, err := tempFile()
		if err != nil {
			return BytesSource(bytes.Clone(first)), fmt.Errorf("unpack: %w", err)
		}
		s.file = f
	}
	start := s.at
	w := io.NewOffsetWriter(s.file, start)
	n, err := w.Write(first)
	s.at += int64(n)
	if err == nil {
		var more int64
		more, err = io.CopyBuffer(struct{ io.Writer }{w}, r, s.scratch(spoolCopy))
		s.at += more
	}
	src, cut := Section(&fileSpool{s.file, s.at}, start, s.at-start)
	if cut != nil {
		return BytesSource(nil), cut
	}
	return src, notEnd(err)
}

// tempFile makes a file that has no name any more.
func tempFile() (*os.File, error) {
	f, err := os.CreateTemp("", "weightwarden-*")
	if err != nil {
		return nil, err
	}
	// Where an open file cannot be removed (Windows) it stays until the folder is cleaned.
	_ = os.Remove(f.Name())
	return f, nil
}

func notEnd(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

// fileSpool is the used part of a spool file.
type fileSpool struct {
	*os.File
	size int64
}

// Size implements Source.
func (f *fileSpool) Size() int64 { return f.size }

// spoolReader ends a stream at the limits of its Spool.
type spoolReader struct {
	ctx   context.Context
	r     io.Reader
	most  int64
	spool *Spool
}

// Read implements io.Reader. A stream that breaks is told from one that ends:
// io.ErrUnexpectedEOF of a decompressor becomes ErrTruncated.
func (l *spoolReader) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	limit := min(l.most, l.spool.inflated)
	if limit <= 0 {
		if n, err := l.r.Read(p[:min(1, len(p))]); n == 0 {
			return 0, broken(err)
		}
		return 0, fmt.Errorf("%w: member unpacks to more than allowed", ErrLimit)
	}
	n, err := l.r.Read(p[:min(int64(len(p)), limit)])
	l.most -= int64(n)
	l.spool.inflated -= int64(n)
	return n, broken(err)
}

func broken(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: compressed stream ends early", ErrTruncated)
	}
	return err
}

// Noticer is the optional ability of a member's Source to tell what went wrong
// while it was unpacked, which happens only when somebody reads it.
type Noticer interface {
	Findings() []Finding
}

// Holds reports whether src is the spool's own file, or the used part of it as
// it was at some time: the base of what Unpack returns once memory is used up.
func (s *Spool) Holds(src Source) bool {
	f, ok := src.(*fileSpool)
	return ok && f.File == s.file
}
