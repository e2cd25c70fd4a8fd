package simd

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// maxLength is the longest slice that every path is compared at, one length after the other.
const maxLength = 2100

// required fails the test if WEIGHTWARDEN_SIMD_REQUIRE names a path that was not taken, so that a run meant to check a
// kernel cannot pass by checking plain Go against itself.
func required(t *testing.T) {
	t.Helper()
	if want := os.Getenv("WEIGHTWARDEN_SIMD_REQUIRE"); want != "" && want != Active() {
		t.Fatalf("path %s was taken, %s is required", Active(), want)
	}
}

func TestActivePath(t *testing.T) {
	required(t)
	have := available()
	if have[0] != pathPure {
		t.Fatalf("plain Go is not the first of the paths: %v", have)
	}
	for _, p := range have {
		if got := choose(p.String()); got != p {
			t.Errorf("choose(%q) = %v", p, got)
		}
	}
	if best := have[len(have)-1]; choose("") != best || choose("no such path") != best {
		t.Errorf("choose of an unknown path is not the best, %v", best)
	}
}

// source makes the inputs of one test, the same in every run.
type source struct{ *rand.Rand }

func newSource() source { return source{rand.New(rand.NewPCG(1, 2))} }

// bytes returns n random bytes that start at an odd address.
func (s source) bytes(n int) []byte {
	b := make([]byte, n+16)
	for i := range b {
		b[i] = byte(s.Uint32())
	}
	return b[1+2*s.IntN(4):][:n:n]
}

// floats returns n weights, some of them odd: zeros of both signs, subnormals, huge values, and infinities if asked for.
func (s source) floats(n int, infinities bool) []float32 {
	f := make([]float32, n+8)
	for i := range f {
		switch k := s.IntN(40); {
		case k == 0:
			f[i] = float32(math.Copysign(0, -1))
		case k == 1:
			f[i] = math.Float32frombits(s.Uint32() & 0x807fffff)
		case k == 2:
			f[i] = float32(s.NormFloat64()) * 1e18
		case k == 3 && infinities:
			f[i] = float32(math.Inf(1 - 2*s.IntN(2)))
		default:
			f[i] = float32(s.NormFloat64())
		}
	}
	return f[s.IntN(8):][:n:n]
}

func (s source) words(n int) []uint32 {
	w := make([]uint32, n)
	for i := range w {
		w[i] = s.Uint32()
	}
	return w
}

// sameBits returns the first index at which two slices differ by more than the payload of a NaN, or -1.
func sameBits(a, b []float32) int {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) && (a[i] == a[i] || b[i] == b[i]) {
			return i
		}
	}
	return -1
}

// eachPath runs a check on every path this processor has.
func eachPath(t *testing.T, check func(t *testing.T, p path)) {
	required(t)
	for _, p := range available() {
		t.Run(p.String(), func(t *testing.T) { check(t, p) })
	}
}

// cutByDefinition is FindCut word for word.
func cutByDefinition(data []byte, c1, c2, threshold uint32, from int) int {
	for p := (max(from, 0) + 3) / 4 * 4; p+8 <= len(data); p += 4 {
		if binary.LittleEndian.Uint32(data[p:])*c1+binary.LittleEndian.Uint32(data[p+4:])*c2 < threshold {
			return p
		}
	}
	return -1
}

func TestFindCut(t *testing.T) {
	const c1, c2 = 0x9e3779b1, 0x85ebca6b
	eachPath(t, func(t *testing.T, p path) {
		s := newSource()
		for n := range maxLength {
			data := s.bytes(n)
			for _, threshold := range []uint32{0, 1 << 20, 1 << 24, 1<<31 + 12345, math.MaxUint32} {
				from := s.IntN(n+40) - 20
				want := cutByDefinition(data, c1, c2, threshold, from)
				if threshold == 0 {
					want = -1
				}
				if got := p.findCut(data, c1, c2, threshold, from); got != want {
					t.Fatalf("length %d, threshold %#x, from %d: cut at %d, want %d", n, threshold, from, got, want)
				}
			}
		}
	})
}

// TestFindCutEverywhere plants the only cut of a buffer at each place in turn.
func TestFindCutEverywhere(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		const n, c1, c2, threshold = 1600, 1, 0, 6
		for at := 0; at+8 <= n; at += 4 {
			data := slices.Repeat([]byte{0, 0, 0, 0x80}, n/4)
			binary.LittleEndian.PutUint32(data[at:], 5)
			for _, from := range []int{0, at - 4, at, at + 4} {
				want := at
				if from > at {
					want = -1
				}
				if got := p.findCut(data, c1, c2, threshold, from); got != want {
					t.Fatalf("planted at %d, from %d: found %d, want %d", at, from, got, want)
				}
			}
		}
	})
}
