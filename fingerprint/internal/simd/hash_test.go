package simd

import "testing"

// TestHash16 compares every path at every number of blocks and lengths of the last one, at odd addresses; the tests of
// package keyhash hold the result against another implementation.
func TestHash16(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		s := newSource()
		for blocks := 1; blocks <= 16; blocks++ {
			for length := range uint32(65) {
				j := HashJob{Stride: 64 * blocks, Blocks: blocks, Flags: s.Uint32(), First: s.Uint32(), Last: s.Uint32(), Length: length}
				copy(j.Key[:], s.words(8))
				copy(j.Counters[:], s.words(32))
				data := s.bytes(64 * 16 * blocks)
				var got, want [512]byte
				p.hash16(&got, data, &j)
				hash16Pure(&want, data, &j)
				if got != want {
					t.Fatalf("%d blocks, %d bytes in the last: chaining values differ", blocks, length)
				}
			}
		}
	})
}

func TestHashKernelIsTaken(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		var out [512]byte
		if got := p.hashLanes(&out, make([]byte, 1024), &HashJob{Stride: 64, Blocks: 1}); got != p.hasHash() {
			t.Errorf("kernel taken: %v, want %v", got, p.hasHash())
		}
	})
}

func BenchmarkHash16(b *testing.B) {
	data, j := newSource().bytes(16<<10), HashJob{Stride: 1024, Blocks: 16, Length: 64}
	var out [512]byte
	eachPathBench(b, len(data), func(p path) { p.hash16(&out, data, &j) })
}
