package state

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"weightwarden/internal/api"
)

func TestPutGetReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "files.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	k := Key{FS: 7, Inode: 8, Birth: -9}
	e := Entry{Stamp: Stamp{Size: 1, Mtime: 2, Ctime: 3}, Path: "/x", Verdict: api.Identical, Seq: 4}
	if err := s.Put(k, e, false); err != nil {
		t.Fatal(err)
	}
	if got, ok := s.Get(k); !ok || got != e {
		t.Fatalf("%+v %v", got, ok)
	}
	if err := s.SetMeta("last", 12); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, ok := s.Get(k); !ok || got != e {
		t.Fatalf("%+v %v", got, ok)
	}
	var n int
	if !s.Meta("last", &n) || n != 12 || s.Meta("absent", &n) {
		t.Fatalf("meta %d", n)
	}
	if n, err := s.Forget(func(_ Key, e Entry) bool { return e.Seq == 4 }); n != 1 || err != nil {
		t.Fatalf("forgot %d, %v", n, err)
	}
	if _, ok := s.Get(k); ok {
		t.Fatal("still there")
	}
}

func TestDamagedIsSetAside(t *testing.T) {
	for name, damage := range map[string]func(b []byte) []byte{
		"garbage":   func([]byte) []byte { return []byte("this is no database") },
		"zeroed":    func(b []byte) []byte { clear(b[8192:]); return b },
		"truncated": func(b []byte) []byte { return b[:len(b)/2] },
		"metas":     func(b []byte) []byte { clear(b[:8192]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "files.db")
			s, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 500 {
				if err := s.Put(Key{Inode: uint64(i)}, Entry{Path: "/a/long/enough/path"}, false); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err = Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			aside := s.Aside()
			if aside == "" || s.Aside() != "" {
				t.Fatal("the damage was not noticed, or is told twice")
			}
			if _, err := os.Stat(aside); err != nil {
				t.Fatal(err)
			}
			if err := s.Put(Key{Inode: 1}, Entry{}, true); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestDamagedWhileOpen: damage under an open store is an error and not a panic, the
// file is moved aside, and a new one takes entries.
func TestDamagedWhileOpen(t *testing.T) {
	for name, damage := range map[string]func(path string, size int64) error{
		"overwritten": func(path string, size int64) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, int(size)-2*os.Getpagesize()), 2*int64(os.Getpagesize()))
			return err
		},
		"cut": func(path string, _ int64) error { return os.Truncate(path, 2*int64(os.Getpagesize())) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "files.db")
			s, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for i := range 512 { // a multiple of what is written at once: nothing waits in memory
				if err := s.Put(Key{Inode: uint64(i)}, Entry{Path: "/a/long/enough/path"}, false); err != nil {
					t.Fatal(err)
				}
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(path, info.Size()); err != nil {
				t.Fatal(err)
			}
			if _, ok := s.Get(Key{Inode: 3}); ok {
				t.Error("an entry of a damaged file")
			}
			aside := s.Aside()
			if _, err := os.Stat(aside); err != nil {
				t.Errorf("moved aside: %v", err)
			}
			if err := s.Put(Key{Inode: 1}, Entry{Path: "/new"}, true); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if s, err = Open(path); err != nil {
				t.Fatal(err)
			}
			if e, ok := s.Get(Key{Inode: 1}); !ok || e.Path != "/new" || s.Aside() != "" {
				t.Errorf("after opening again: %+v, %v", e, ok)
			}
		})
	}
}
