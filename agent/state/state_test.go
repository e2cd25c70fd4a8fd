package state

import (
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
			if s.SetAside == "" {
				t.Fatal("the damage was not noticed")
			}
			if _, err := os.Stat(s.SetAside); err != nil {
				t.Fatal(err)
			}
			if err := s.Put(Key{Inode: 1}, Entry{}, true); err != nil {
				t.Fatal(err)
			}
		})
	}
}
