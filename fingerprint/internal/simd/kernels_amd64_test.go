//go:build !purego

package simd

import "testing"

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
