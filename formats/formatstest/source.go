package formatstest

import (
	"io"
	"io/fs"
	"maps"
	"slices"

	"weightwarden/formats"
)

// Folder is a folder in memory: names of files and their bytes.
type Folder map[string][]byte

// Source returns the file of that name as a Source that reaches the others.
func (d Folder) Source(name string) formats.Source {
	return folderSource{BytesSource: d[name], dir: d}
}

type folderSource struct {
	formats.BytesSource
	dir Folder
}

// OpenSibling implements formats.Siblings with the rules of formats/file.
func (s folderSource) OpenSibling(name string) (formats.Source, error) {
	b, ok := s.dir[name]
	if !ok || !fs.ValidPath(name) {
		return nil, fs.ErrNotExist
	}
	return folderSource{BytesSource: b, dir: s.dir}, nil
}

// SiblingNames implements formats.Lister.
func (s folderSource) SiblingNames(max int) ([]string, error) {
	names := slices.Sorted(maps.Keys(s.dir))
	return names[:min(max, len(names))], nil
}

// Beside is a Source that reaches others by their names.
type Beside struct {
	formats.Source
	Files map[string]formats.Source
}

// OpenSibling implements formats.Siblings.
func (b Beside) OpenSibling(name string) (formats.Source, error) {
	s, ok := b.Files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return s, nil
}

// SiblingNames implements formats.Lister.
func (b Beside) SiblingNames(max int) ([]string, error) {
	names := slices.Sorted(maps.Keys(b.Files))
	return names[:min(max, len(names))], nil
}

// Sparse is a Source of any size whose first bytes are Head and last bytes Tail,
// with zeros between: a huge file that costs nothing.
type Sparse struct {
	Head, Tail []byte
	Bytes      int64 // the whole size, at least that of Head and Tail
}

// Size implements formats.Source.
func (s Sparse) Size() int64 { return s.Bytes }

// ReadAt implements io.ReaderAt.
func (s Sparse) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.Bytes {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), s.Bytes-off))
	clear(p[:n])
	if off < int64(len(s.Head)) {
		copy(p[:n], s.Head[off:])
	}
	if tail := s.Bytes - int64(len(s.Tail)); off+int64(n) > tail {
		if off >= tail {
			copy(p[:n], s.Tail[off-tail:])
		} else {
			copy(p[tail-off:n], s.Tail)
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// counter counts what a decoder reads, and refuses more than a budget: a decoder
// that loops over its input is found by an error instead of by a clock.
type counter struct {
	formats.Source
	left *int64
	over *bool
}

func (c counter) ReadAt(p []byte, off int64) (int, error) {
	if *c.left -= int64(len(p)) + 64; *c.left < 0 {
		*c.over = true
		return 0, io.ErrNoProgress
	}
	return c.Source.ReadAt(p, off)
}

// OpenSibling implements formats.Siblings; siblings share the budget.
func (c counter) OpenSibling(name string) (formats.Source, error) {
	s, err := formats.OpenSibling(c.Source, name)
	if err != nil {
		return nil, err
	}
	*c.left += budget(s.Size())
	return counter{s, c.left, c.over}, nil
}

// SiblingNames implements formats.Lister.
func (c counter) SiblingNames(max int) ([]string, error) {
	if l, ok := c.Source.(formats.Lister); ok {
		return l.SiblingNames(max)
	}
	return nil, formats.ErrNoSiblings
}

func budget(size int64) int64 { return 256*size + 4<<20 }
