package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDiskFull: a full disk is an error and no damage; entries stay in memory and
// are written when there is room, and the store can be opened meanwhile.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a small file system can only be mounted by root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "files.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(i int) (Key, Entry) {
		return Key{Inode: uint64(i)}, Entry{Path: fmt.Sprint("/", i, strings.Repeat("x", 1000))}
	}
	count := 0
	for err == nil && count < 5000 {
		count++
		k, e := entry(count)
		err = s.Put(k, e, count%10 == 0)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("after %d entries: %v", count, err)
	}
	for i := 1; i <= count; i++ {
		k, want := entry(i)
		if got, ok := s.Get(k); !ok || got != want {
			t.Fatalf("entry %d is lost while the disk is full", i)
		}
	}
	if err := s.Close(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("closing does not say that entries were not written: %v", err)
	}
	if s, err = Open(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if k, want := entry(1); s.Aside() != "" {
		t.Error("a full disk was taken for damage")
	} else if got, ok := s.Get(k); !ok || got != want {
		t.Error("the first entry is lost")
	}
	k, e := entry(count)
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(k, e, true); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
