package file

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// blocksRead is how many blocks of 512 bytes this process had the system read.
func blocksRead(t *testing.T) int64 {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return int64(u.Inblock)
}

func TestSmallReadsReadOnce(t *testing.T) {
	const size = 4 << 20
	data := make([]byte, size)
	for i, r := 0, rand.New(rand.NewPCG(3, 4)); i < size; i++ {
		data[i] = byte(r.Uint32())
	}
	for _, advise := range []bool{false, true} {
		f, err := Open(evicted(t, data))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.LeaveCache()
		n := f.neutral.(*neutral)
		if n.advise.Store(advise); advise {
			n.fadvise(0, 0, unix.FADV_RANDOM) // as when the kernel turns out to need it
		}
		before := blocksRead(t)
		directory := int64(size / 2) // entries, each followed by a look at what it is of
		for at := int64(0); at < size/2-64; at += 3000 {
			for _, off := range []int64{at, directory} {
				got := make([]byte, 46)
				if n, err := f.ReadAt(got, off); err != nil || !bytes.Equal(got, data[off:off+46]) {
					t.Fatalf("advise %v: %d bytes at %d, %v; or others than the file's", advise, n, off, err)
				}
			}
			directory += 60
		}
		if read := 512 * (blocksRead(t) - before); read > 2*size {
			t.Errorf("advise %v: %d bytes were read from the disk for some of %d", advise, read, size)
		}
		if n := count(cachedPages(t, f.f, size)); n > size/2/4096 {
			t.Errorf("advise %v: %d pages are cached", advise, n)
		}
		for _, off := range []int64{size - 3, size, size + 1, math.MaxInt64 - 10} { // beyond the end
			want, _ := bytes.NewReader(data).ReadAt(make([]byte, 100), off)
			if n, err := f.ReadAt(make([]byte, 100), off); n != want || err == nil {
				t.Errorf("advise %v: %d bytes at %d, %v; want %d and an error", advise, n, off, err, want)
			}
		}
	}
}
