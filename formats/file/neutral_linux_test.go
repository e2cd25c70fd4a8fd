package file

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cachedPages tells which pages of a file are in the page cache.
func cachedPages(t *testing.T, f *os.File, size int) []byte {
	t.Helper()
	m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	pages := make([]byte, (size+os.Getpagesize()-1)/os.Getpagesize())
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(size), uintptr(unsafe.Pointer(&pages[0]))); errno != 0 {
		t.Fatal(errno)
	}
	return pages
}

func count(pages []byte) (n int) {
	for _, p := range pages {
		n += int(p & 1)
	}
	return n
}

// evicted makes a file none of whose pages are cached.
func evicted(t *testing.T, data []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "model")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	if n := count(cachedPages(t, f, len(data))); n > 0 {
		t.Skipf("this file system keeps its files in memory: %d pages stayed", n)
	}
	return path
}

func TestLeaveCache(t *testing.T) {
	const size, warm = 6 << 20, 1 << 20
	data := make([]byte, size)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < size; i++ {
		data[i] = byte(r.Uint32())
	}
	for _, advise := range []bool{false, true} {
		path := evicted(t, data)
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.LeaveCache()
		n := f.neutral.(*neutral)
		n.advise.Store(advise)
		n.fadvise(0, 0, unix.FADV_RANDOM)
		if _, err := f.f.ReadAt(make([]byte, warm), 0); err != nil { // another's reading
			t.Fatal(err)
		}
		before := count(cachedPages(t, f.f, size))
		got := make([]byte, 0, size)
		buf := make([]byte, 128<<10)
		for at := int64(0); at < size; {
			k, err := f.ReadAt(buf[:min(len(buf), 100_000)], at) // pieces that end inside of pages
			if err != nil && err != io.EOF {
				t.Fatal(err)
			}
			got, at = append(got, buf[:k]...), at+int64(k)
		}
		if !bytes.Equal(got, data) {
			t.Fatalf("advise %v: the bytes differ", advise)
		}
		pages := cachedPages(t, f.f, size)
		if left := count(pages[:warm/os.Getpagesize()]); left < warm/os.Getpagesize() {
			t.Errorf("advise %v: of what was cached only %d pages are left", advise, left)
		}
		if after := count(pages); after-before > (len(pages)-before)/2 { // the kernel may keep a page that is busy elsewhere
			t.Errorf("advise %v: %d pages cached before, %d after", advise, before, after)
		}
	}
}

func TestLeaveCacheReadsLikeFile(t *testing.T) {
	path := evicted(t, []byte("hello"))
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	f.LeaveCache()
	p := make([]byte, 10)
	if n, err := f.ReadAt(p, 1); n != 4 || err != io.EOF {
		t.Errorf("past the end: %d bytes, %v", n, err)
	}
	if n, err := f.ReadAt(p[:2], 2); n != 2 || err != nil || string(p[:2]) != "ll" {
		t.Errorf("inside: %d bytes %q, %v", n, p[:2], err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(p, 0); err == nil {
		t.Error("a closed file was read")
	}
}
