package file

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"weightwarden/formats"
)

// lendable makes a file that is in the page cache; the test ends where this system does not lend.
func lendable(t *testing.T, size int) (*File, []byte) {
	t.Helper()
	data := make([]byte, size)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < size; i++ {
		data[i] = byte(r.Uint32())
	}
	path := filepath.Join(t.TempDir(), "model")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	if lent, err := f.Lend(0, 1, func([]byte) error { return nil }); err != nil {
		t.Fatal(err)
	} else if !lent {
		t.Skip("this kernel does not know cachestat, or this file system does not map files")
	}
	return f, data
}

func TestLend(t *testing.T) {
	f, data := lendable(t, 1<<20+17)
	for _, c := range []struct{ off, length int64 }{{0, 1}, {0, 1<<20 + 17}, {4096, 4096}, {4095, 2}, {12345, 99999}, {1 << 20, 17}} {
		lent, err := f.Lend(c.off, c.length, func(b []byte) error {
			if !bytes.Equal(b, data[c.off:c.off+c.length]) {
				t.Errorf("%d bytes from %d are others", c.length, c.off)
			}
			return nil
		})
		if !lent || err != nil {
			t.Errorf("%d+%d: %v, %v", c.off, c.length, lent, err)
		}
	}
	want := errors.New("enough")
	if lent, err := f.Lend(0, 10, func([]byte) error { return want }); !lent || err != want {
		t.Errorf("%v, %v instead of the caller's error", lent, err)
	}
	for _, c := range []struct{ off, length int64 }{{-1, 2}, {0, 0}, {0, -1}, {1, 1<<20 + 17}, {1 << 62, 1 << 62}, {0, 1 << 40}} {
		if lent, err := f.Lend(c.off, c.length, func([]byte) error { t.Error("called"); return nil }); lent || err != nil {
			t.Errorf("%d+%d: %v, %v", c.off, c.length, lent, err)
		}
	}
}

// What is not in the page cache is not lent, so that it is not brought there.
func TestLendWhatIsCached(t *testing.T) {
	f, err := Open(evicted(t, bytes.Repeat([]byte("weights!"), 1<<17)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if lent, err := f.Lend(0, 1<<20, func([]byte) error { return nil }); lent || err != nil {
		t.Errorf("%v, %v", lent, err)
	}
	if n := count(cachedPages(t, f.f, 1<<20)); n > 0 {
		t.Errorf("%d pages are cached now", n)
	}
}

// Nobody ends this process by making a file shorter.
func TestLendOfAShrinkingFile(t *testing.T) {
	f, _ := lendable(t, 1<<20)
	sum, after := byte(0), false
	lent, err := f.Lend(0, 1<<20, func(b []byte) error {
		if err := os.Truncate(f.f.Name(), 100<<10); err != nil {
			t.Fatal(err)
		}
		for _, x := range b {
			sum += x
		}
		after = true
		return nil
	})
	if !lent || !errors.Is(err, formats.ErrTruncated) || after {
		t.Errorf("%v, %v, went on: %v, sum %d", lent, err, after, sum)
	}
	defer func() {
		if recover() == nil {
			t.Error("a fault of the caller's own was swallowed")
		}
	}()
	f.Lend(0, 1, func([]byte) error { panic("own") })
}
