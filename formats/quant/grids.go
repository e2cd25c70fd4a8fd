package quant

import _ "embed"

// packedGrids holds the code books of the IQ types one after the other: iq2xxs,
// iq2xs, iq2s (two bits an entry), iq3xxs, iq3s (three bits) and iq1s (two bits)
// of ggml-common.h in llama.cpp, MIT licence, (c) 2023-2026 The ggml authors.
// Written by testdata/gen/quant/grids.py.
//
//go:embed grids.bin
var packedGrids string

// The code books as numbers, indexed by code. A code stands for eight numbers in
// the one- and two-bit types and for four in the three-bit types.
var (
	gridIQ2XXS = unpackGrid[[8]float32](256, 0, levelsIQ2)
	gridIQ2XS  = unpackGrid[[8]float32](512, 512, levelsIQ2)
	gridIQ2S   = unpackGrid[[8]float32](1024, 1536, levelsIQ2)
	gridIQ3XXS = unpackGrid[[4]float32](256, 3584, levelsIQ3XXS)
	gridIQ3S   = unpackGrid[[4]float32](512, 3968, levelsIQ3S)
	gridIQ1    = unpackGrid[[8]float32](2048, 4736, levelsIQ1)
)

// The levels that the entries of the code books index.
var (
	levelsIQ2    = []float32{8, 25, 43, 0}
	levelsIQ3XXS = []float32{4, 12, 20, 28, 36, 44, 52, 62}
	levelsIQ3S   = []float32{1, 3, 5, 7, 9, 11, 13, 15}
	levelsIQ1    = []float32{-1, 0, 1, 0}
)

// unpackGrid expands n codes of len(T) entries that start at a byte of
// packedGrids.
func unpackGrid[T [4]float32 | [8]float32](n, start int, levels []float32) []T {
	width := 2
	if len(levels) == 8 {
		width = 3
	}
	grid := make([]T, n)
	bit := 8 * start
	for i := range grid {
		for j := range len(grid[i]) {
			index := 0
			for b := range width {
				index |= int(packedGrids[(bit+b)/8]>>((bit+b)%8)&1) << b
			}
			grid[i][j] = levels[index]
			bit += width
		}
	}
	return grid
}
