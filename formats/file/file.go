package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"weightwarden/formats"
)

// MaxSiblings bounds the files beside one Source that are open at a time: they
// stay open as long as the Source.
const MaxSiblings = 4096

// ErrNotRegular means a folder, pipe, socket, device or link where a regular file
// was wanted.
var ErrNotRegular = errors.New("not a regular file")

// ErrEscape means a sibling's name that does not stay below the folder, or that
// passes a link.
var ErrEscape = errors.New("name leads outside of the folder or through a link")

// File is an open regular file.
type File struct {
	f    *os.File
	info fs.FileInfo
	root *os.Root // nil: no siblings

	neutral reader // set by LeaveCache, nil: read as usual

	mu       sync.Mutex
	siblings map[string]*File
}

// Open opens the regular file at path, which the caller trusts as a name (links
// are followed), and the folder it is in for OpenSibling. It never waits for the
// writer of a pipe.
func Open(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|nonBlock, 0)
	if err != nil {
		return nil, err
	}
	// A folder that cannot be listed or opened only costs the siblings.
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		root = nil
	}
	return New(f, root)
}

// New makes a File of a descriptor that is already open. root is the folder its
// siblings are looked for in, nil where there is none. The File takes both over,
// and closes them when it fails.
func New(f *os.File, root *os.Root) (*File, error) {
	out := &File{f: f, root: root}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%q: %w (%s)", f.Name(), ErrNotRegular, kind(info.Mode()))
	}
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	out.info = info
	return out, nil
}

// Size returns the size the file had when it was opened.
func (f *File) Size() int64 { return f.info.Size() }

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if f.neutral != nil && off >= 0 {
		return f.neutral.readAt(p, off)
	}
	return f.f.ReadAt(p, off)
}

// Info returns what the file system said about the file when it was opened.
func (f *File) Info() fs.FileInfo { return f.info }

// Descriptor returns the open file, to be handed to another process. It stays
// the File's own.
func (f *File) Descriptor() *os.File { return f.f }

// OpenSibling opens a regular file in or below the folder of f. The name is that
// of a hostile file: absolute names, "..", back-slashes, links on any part of the
// way, and hard links to another owner's file give ErrEscape.
func (f *File) OpenSibling(name string) (formats.Source, error) {
	if f.root == nil {
		return nil, formats.ErrNoSiblings
	}
	if !formats.LocalName(name) || !filepath.IsLocal(name) {
		return nil, fmt.Errorf("%.200q: %w", name, ErrEscape)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s, ok := f.siblings[name]; ok {
		return s, nil
	}
	if len(f.siblings) >= MaxSiblings {
		return nil, fmt.Errorf("%.200q: %w: %d files open beside this one", name, formats.ErrLimit, MaxSiblings)
	}
	s, err := f.openBelow(name)
	if err != nil {
		return nil, err
	}
	if f.siblings == nil {
		f.siblings = make(map[string]*File)
	}
	if f.neutral != nil {
		s.LeaveCache()
	}
	f.siblings[name] = s
	return s, nil
}

// SiblingNames implements formats.Lister.
func (f *File) SiblingNames(max int) ([]string, error) {
	if f.root == nil {
		return nil, formats.ErrNoSiblings
	}
	dir, err := f.root.Open(".")
	if err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(max)
	if errors.Is(err, io.EOF) {
		err = nil // an empty folder: the file itself is gone
	}
	return names, errors.Join(err, dir.Close())
}

// openBelow looks at every part of name before it opens the last one, and then
// makes sure that it opened what it looked at. os.Root holds against a folder
// that is swapped for a link in between.
func (f *File) openBelow(name string) (*File, error) {
	var seen fs.FileInfo
	for end := 0; end < len(name); {
		next := strings.IndexByte(name[end:], '/')
		last := next < 0
		if last {
			next = len(name) - end
		}
		part := name[:end+next]
		info, err := f.root.Lstat(part)
		if err != nil {
			return nil, err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return nil, fmt.Errorf("%.200q: %w", name, ErrEscape)
		}
		if last && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%.200q: %w (%s)", name, ErrNotRegular, kind(info.Mode()))
		}
		seen = info
		end += next + 1
	}
	h, err := f.root.OpenFile(name, os.O_RDONLY|nonBlock, 0)
	if err != nil {
		return nil, err
	}
	out, err := New(h, nil)
	if err != nil {
		return nil, err
	}
	if !os.SameFile(seen, out.info) || foreignLink(f.info, out.info) {
		return nil, errors.Join(fmt.Errorf("%.200q: %w", name, ErrEscape), out.Close())
	}
	return out, nil
}

// Close closes the file, its folder and every sibling that was opened.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.f.Close()
	if f.root != nil {
		err = errors.Join(err, f.root.Close())
	}
	for _, s := range f.siblings {
		err = errors.Join(err, s.Close())
	}
	f.siblings = nil
	return err
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeSymlink != 0:
		return "a link"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return m.String()
}
