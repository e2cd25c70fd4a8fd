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
		kernel := accumulateClippedAVX2
		switch p {
		case pathAVX2:
			all = len(data) - 4
		case pathAVX512:
			all, wide, kernel = len(data)-4, 2*256, accumulateClippedAVX512
		}
		if got := p.skipUncut(data, 1, 0, 1, 0); got != all {
			t.Errorf("%d bytes were searched by kernels, want %d", got, all)
		}
		if got := p.skipUncutWide(data, 1, 0, 1, 0); got != wide {
			t.Errorf("%d bytes were searched by the wide kernel, want %d", got, wide)
		}
		if reflect.ValueOf(p.clippedKernel()).Pointer() != reflect.ValueOf(kernel).Pointer() {
			t.Error("the row sketch is another path's")
		}
	})
}
