//go:build unix

package file

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"weightwarden/formats"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestOpenSibling(t *testing.T) {
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret"), "secret")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "model"), "model")
	write(t, filepath.Join(dir, "shard"), "shard!")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "sub", "deep"), "deep")
	for name, target := range map[string]string{"out": filepath.Join(outside, "secret"), "in": "shard", "dir": "sub", "outdir": outside} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, filepath.Join(dir, "model"))
	for name, want := range map[string]error{
		"shard": nil, "sub/deep": nil, "model": nil,
		"out": ErrEscape, "in": ErrEscape, "dir/deep": ErrEscape, "outdir/secret": ErrEscape,
		"../model": ErrEscape, "sub/../shard": ErrEscape, "/etc/passwd": ErrEscape, "": ErrEscape, ".": ErrEscape,
		"./shard": ErrEscape, "sub//deep": ErrEscape, `sub\deep`: ErrEscape, "shard\x00": ErrEscape,
		"sub": ErrNotRegular, "pipe": ErrNotRegular, "none": os.ErrNotExist, "shard/x": syscall.ENOTDIR,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := f.OpenSibling(name)
			if !errors.Is(err, want) || (s == nil) != (err != nil) {
				t.Errorf("OpenSibling(%q) = %v, %v; want error %v", name, s, err, want)
			}
		})
	}
	a, _ := f.OpenSibling("shard")
	b, _ := f.OpenSibling("shard")
	if a != b || a.Size() != 6 {
		t.Errorf("a sibling is not opened once: %v, %v", a, b)
	}
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, pipe, os.DevNull} {
		if f, err := Open(path); f != nil || !errors.Is(err, ErrNotRegular) {
			t.Errorf("Open(%q) = %v, %v", path, f, err)
		}
	}
}

// A file that shrinks after it was opened is an error of the read, nothing worse.
func TestShrinkingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model")
	write(t, path, "0123456789")
	f := open(t, path)
	if err := os.Truncate(path, 4); err != nil {
		t.Fatal(err)
	}
	if f.Size() != 10 {
		t.Errorf("size changed to %d", f.Size())
	}
	if err := formats.ReadFull(f, make([]byte, 10), 0); !errors.Is(err, formats.ErrTruncated) {
		t.Errorf("ReadFull = %v", err)
	}
}

func TestNewFromDescriptor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model")
	write(t, path, "0123456789")
	h, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f, err := New(h, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil || string(b) != "0123456789" {
		t.Errorf("read %q, %v", b, err)
	}
	if _, err := formats.OpenSibling(f, "x"); !errors.Is(err, formats.ErrNoSiblings) {
		t.Errorf("OpenSibling without a folder = %v", err)
	}
}
