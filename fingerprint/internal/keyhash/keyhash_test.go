package keyhash

import (
	"math/rand/v2"
	"testing"

	"github.com/zeebo/blake3"

	"weightwarden/fingerprint/internal/simd"
)

func made(n int) []byte {
	r := rand.New(rand.NewPCG(7, 8))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

var testKey = made(32)

func byZeebo(t *testing.T, b []byte) (sum [32]byte) {
	t.Helper()
	h, err := blake3.NewKeyed(testKey)
	if err != nil {
		t.Fatal(err)
	}
	h.Write(b)
	h.Sum(sum[:0])
	return sum
}

// TestTree compares the tree with zeebo/blake3: every number of leaves up to 70, every length of the last block, odd
// addresses. It runs whichever way Hash16 works here.
func TestTree(t *testing.T) {
	h, err := New(testKey)
	if err != nil {
		t.Fatal(err)
	}
	data := made(2 << 20)
	check := func(from, n int) {
		t.Helper()
		if b := data[from:][:n]; h.tree(b) != byZeebo(t, b) {
			t.Fatalf("%d bytes from %d on: another digest", n, from)
		}
	}
	for leaves := 16; leaves <= 70; leaves++ {
		for _, rest := range []int{0, 1, 63, 64, 65, 500, 1023} {
			check(leaves%5, leaves*leaf+rest)
		}
	}
	for rest := range leaf {
		check(rest%3, least+rest)
	}
	for _, n := range []int{128 << 10, 147<<10 + 4, 255<<10 + 1020, 1<<20 - 4, 1 << 20, 1<<20 + 4} {
		check(0, n)
	}
}

// TestSum crosses the length from which the lanes are used; what was hashed before leaves no trace.
func TestSum(t *testing.T) {
	h, err := New(testKey)
	if err != nil {
		t.Fatal(err)
	}
	data := made(1 << 20)
	for _, n := range []int{1 << 20, 0, 1, 1000, 1024, least - 1, least, least + 1, 100_000, 20_000, least - 1} {
		if h.Sum(data[:n]) != byZeebo(t, data[:n]) {
			t.Errorf("%d bytes: another digest", n)
		}
	}
	if _, err := New(testKey[:31]); err == nil {
		t.Error("a key of 31 bytes is taken")
	}
}

func BenchmarkSum(b *testing.B) {
	data := made(147 << 10)
	h, err := New(testKey)
	if err != nil {
		b.Fatal(err)
	}
	b.Run(simd.Active(), func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			h.Sum(data)
		}
	})
	b.Run("zeebo", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			h.plain.Reset()
			h.plain.Write(data)
			var sum [32]byte
			h.plain.Sum(sum[:0])
		}
	})
}
