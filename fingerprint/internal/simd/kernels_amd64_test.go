//go:build !purego

package simd

import (
	"bytes"
	"reflect"
	"testing"
)

// TestBlockKernelsAreTaken fails where a block type falls back to plain Go, which comparing paths would not show.
func TestBlockKernelsAreTaken(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		for name, b := range blocks {
			values, size := b.shape()
			want := 0
			if p.hasBlocks() {
				want = 3
			}
			if got := p.decodeSomeBlocks(make([]float32, 3*values), make([]byte, 3*size), b); got != want {
				t.Errorf("%s: %d blocks by the kernel, want %d", name, got, want)
			}
		}
	})
}

// TestWideKernelsAreTaken fails where the search or the sketch leaves out the kernel of its path, which comparing paths
// would not show.
func TestWideKernelsAreTaken(t *testing.T) {
	data := bytes.Repeat([]byte{0xff}, 2*256+128+4)
	eachPath(t, func(t *testing.T, p path) {
		all, wide := 0, 0 // bytes that kernels search
		kernel, bf16, q4k := accumulateClippedAVX2, widenBF16AVX2, decodeQ4KAVX2
		switch p {
		case pathAVX2:
			all = len(data) - 4
		case pathAVX512:
			all, wide = len(data)-4, 2*256
			kernel, bf16, q4k = accumulateClippedAVX512, widenBF16AVX512, decodeQ4KAVX512
		}
		if got := p.skipUncut(data, 1, 0, 1, 0); got != all {
			t.Errorf("%d bytes were searched by kernels, want %d", got, all)
		}
		if got := p.skipUncutWide(data, 1, 0, 1, 0); got != wide {
			t.Errorf("%d bytes were searched by the wide kernel, want %d", got, wide)
		}
		squares := 0 // values that kernels square
		if p.avx2() {
			squares = 32
		}
		if got := p.squaresGroups(new([squareLanes]float64), make([]float32, 35), make([]float32, 35)); got != squares {
			t.Errorf("%d values were squared by kernels, want %d", got, squares)
		}
		for name, pair := range map[string][2]any{"the row sketch": {p.clippedKernel(), kernel}, "BF16": {p.bf16Kernel(), bf16}, "Q4_K": {p.q4kKernel(), q4k}} {
			if reflect.ValueOf(pair[0]).Pointer() != reflect.ValueOf(pair[1]).Pointer() {
				t.Errorf("the kernel of %s is another path's", name)
			}
		}
	})
}
