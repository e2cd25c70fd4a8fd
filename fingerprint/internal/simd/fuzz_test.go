package simd

import (
	"encoding/binary"
	"math"
	"testing"
)

// FuzzPaths gives the same bytes to every path, as values, blocks and chunks.
func FuzzPaths(f *testing.F) {
	s := newSource()
	for _, n := range []int{0, 3, 64, 300, 1500} {
		f.Add(s.bytes(n), uint32(0x9e3779b1), uint32(0x85ebca6b), uint32(1<<26), float32(0.1), float32(2))
	}
	f.Fuzz(func(t *testing.T, data []byte, c1, c2, threshold uint32, mean, limit float32) {
		if limit != limit {
			return // a NaN is no limit
		}
		signs := make([]uint32, len(data)/4)
		for i := range signs {
			signs[i] = binary.LittleEndian.Uint32(data[4*i:]) * 0x9e3779b1
		}
		p := active
		if got, want := p.findCut(data, c1, c2, threshold, 0), pathPure.findCut(data, c1, c2, threshold, 0); got != want {
			t.Errorf("cut at %d, want %d", got, want)
		}
		for name, w := range widenings {
			want, got := make([]float32, len(data)), make([]float32, len(data))
			n := pathPure.widen(want, data, w)
			p.widen(got, data, w)
			equal(t, name, got, want)
			compareSketch(t, p, want[:n], signs, mean, limit)
		}
		for name, b := range blocks {
			want, got := make([]float32, 3*len(data)), make([]float32, 3*len(data))
			pathPure.decodeBlocks(want, data, b)
			p.decodeBlocks(got, data, b)
			equal(t, name, got, want)
		}
	})
}

func compareSketch(t *testing.T, p path, row []float32, signs []uint32, mean, limit float32) {
	var got, want [256]float32
	p.accumulateClipped(got[:], row, signs, mean, limit)
	pathPure.accumulateClipped(want[:], row, signs, mean, limit)
	equal(t, "sketch", got[:], want[:])
	g, w := p.stats(row), pathPure.stats(row)
	equal(t, "stats", []float32{g.Sum, g.SumSquares}, []float32{w.Sum, w.SumSquares})
}

func equal(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if i := sameBits(got, want); i >= 0 {
		t.Errorf("%s: value %d is %#x, want %#x", what, i, math.Float32bits(got[i]), math.Float32bits(want[i]))
	}
}
