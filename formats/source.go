package formats

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// Source is the bytes of one file. It is never a path: an agent hands over the
// descriptor that the kernel gave it, so that nobody can swap the file between
// look and read. ReadAt must be safe for concurrent use.
type Source interface {
	io.ReaderAt
	// Size is the number of bytes, fixed for the life of the Source.
	Size() int64
}

// Siblings is the optional ability of a Source to open other files of its own
// folder: shards named by an index, or external data of an ONNX model.
type Siblings interface {
	// OpenSibling opens a regular file below the source's own folder. The name
	// comes out of a hostile file: an implementation must refuse absolute names,
	// "..", links and anything that is not a regular file. The caller does not
	// close the result; it lives as long as the Source that opened it.
	OpenSibling(name string) (Source, error)
}

// Lister is the optional ability of a Source to name the files of its own folder,
// where a format has parts that only their names tell apart (GGUF splits).
type Lister interface {
	// SiblingNames returns the names of at most max entries of the folder, in no
	// order. They are hostile, and OpenSibling decides about each.
	SiblingNames(max int) ([]string, error)
}

// ErrNoSiblings is returned where a Source cannot reach the files beside it.
var ErrNoSiblings = errors.New("the files beside this one cannot be reached")

// OpenSibling opens a file beside src, or fails with ErrNoSiblings where src
// knows no folder.
func OpenSibling(src Source, name string) (Source, error) {
	s, ok := src.(Siblings)
	if !ok {
		return nil, ErrNoSiblings
	}
	return s.OpenSibling(name)
}

// LocalName reports whether a name out of a file is a plain relative one: no
// absolute path, no "." or "..", no empty part, no back-slash, no zero byte. What
// it leads to is for the Source to decide; a name that fails here was made to
// lead somewhere else.
func LocalName(name string) bool {
	return name != "." && fs.ValidPath(name) && !strings.ContainsAny(name, "\\\x00")
}

// Section is the part of src from offset on for length bytes, as a Source of its
// own. It fails when the part does not lie inside src.
func Section(src Source, offset, length int64) (Source, error) {
	if offset < 0 || length < 0 || offset > src.Size() || length > src.Size()-offset {
		return nil, fmt.Errorf("section %d+%d outside of %d bytes", offset, length, src.Size())
	}
	if s, ok := src.(*section); ok {
		src, offset = s.src, s.offset+offset
	}
	return &section{src, offset, length}, nil
}

type section struct {
	src            Source
	offset, length int64
}

// Size implements Source.
func (s *section) Size() int64 { return s.length }

// ReadAt implements io.ReaderAt.
func (s *section) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= s.length {
		if off < 0 {
			return 0, errors.New("negative offset")
		}
		return 0, io.EOF
	}
	if left := s.length - off; int64(len(p)) > left {
		n, err := s.src.ReadAt(p[:left], s.offset+off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	return s.src.ReadAt(p, s.offset+off)
}

// Base returns the Source that a section is part of, and where it starts there.
func (s *section) Base() (Source, int64) { return s.src, s.offset }

// Based is the optional ability of a Source that is a part of another one, byte
// for byte: a section, a stored member of an archive.
type Based interface {
	// Base returns the other Source and the offset of the first byte in it.
	Base() (Source, int64)
}

// Lend implements Lender, where the other Source does.
func (s *section) Lend(off, length int64, use func(data []byte) error) (bool, error) {
	if off < 0 || length < 0 || off > s.length || length > s.length-off {
		return false, nil
	}
	return Lend(s.src, s.offset+off, length, use)
}

// Lender is the optional ability of a Source to show bytes where they lie in memory,
// which saves copying them.
type Lender interface {
	// Lend calls use with length bytes from off on and returns its error. It says
	// false, and does not call, where they do not lie in memory already: they are to
	// be read then. They are valid during the call only, must not be written to, and
	// may change while they are looked at. A file that becomes shorter meanwhile ends
	// the call of use wherever it was, with ErrTruncated.
	Lend(off, length int64, use func(data []byte) error) (bool, error)
}

// Lend is src's own, or false where it has none.
func Lend(src Source, off, length int64, use func(data []byte) error) (bool, error) {
	if l, ok := src.(Lender); ok {
		return l.Lend(off, length, use)
	}
	return false, nil
}

// BytesSource is a Source over bytes in memory.
type BytesSource []byte

// Size returns the number of bytes.
func (b BytesSource) Size() int64 { return int64(len(b)) }

// ReadAt implements io.ReaderAt.
func (b BytesSource) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if off >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Lend implements Lender.
func (b BytesSource) Lend(off, length int64, use func(data []byte) error) (bool, error) {
	if off < 0 || length < 0 || off > b.Size() || length > b.Size()-off {
		return false, nil
	}
	return true, use(b[off:][:length:length])
}

// ReadFull fills p from src at off. A source that ends early gives
// ErrTruncated, wrapped, whatever the source itself said about it.
func ReadFull(src io.ReaderAt, p []byte, off int64) error {
	n, err := src.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %d of %d bytes at offset %d", ErrTruncated, n, len(p), off)
	}
	return err
}
