package simd

import (
	"encoding/binary"
	"math"
)

// findCutPure is FindCut from a position that is a multiple of 4 and not negative.
func findCutPure(data []byte, c1, c2, threshold uint32, from int) int {
	if from > len(data)-8 {
		return -1
	}
	low := binary.LittleEndian.Uint32(data[from:])
	for p := from; p+8 <= len(data); p += 4 {
		high := binary.LittleEndian.Uint32(data[p+4:])
		if low*c1+high*c2 < threshold {
			return p
		}
		low = high
	}
	return -1
}

// flip returns v with its sign turned if bit j%32 of signs[j/32] is set.
func flip(v float32, signs []uint32, j int) float32 {
	return math.Float32frombits(math.Float32bits(v) ^ signs[j>>5]>>(j&31)<<31)
}

// accumulatePure adds columns from..len(row)-1; len(acc) is a power of two and signs covers the row.
func accumulatePure(acc, row []float32, signs []uint32, from int) {
	mask := len(acc) - 1
	for j := from; j < len(row); j++ {
		acc[j&mask] += flip(row[j], signs, j)
	}
}

// accumulateClippedPure is accumulatePure over clip(row[j]-mean).
func accumulateClippedPure(acc, row []float32, signs []uint32, mean, limit float32, from int) {
	mask := len(acc) - 1
	for j := from; j < len(row); j++ {
		acc[j&mask] += flip(clip(row[j]-mean, limit), signs, j)
	}
}

// clip moves v into -limit..+limit and hands a NaN through.
func clip(v, limit float32) float32 {
	if limit < v {
		v = limit
	}
	if -limit > v {
		v = -limit
	}
	return v
}

// partial holds the interleaved sums of Stats.
type partial struct {
	sum, squares [lanes]float32
}

// addPure takes the values row[from:] in.
func (p *partial) addPure(row []float32, from int) {
	for j := from; j < len(row); j++ {
		v, l := row[j], j%lanes
		p.sum[l] += v
		p.squares[l] += float32(v * v) // the conversion forbids fusing the product into the sum
	}
}

// total adds the lanes up in the order that Stats promises.
func (p *partial) total() RowStats {
	for half := lanes / 2; half > 0; half /= 2 {
		for i := range half {
			p.sum[i] += p.sum[i+half]
			p.squares[i] += p.squares[i+half]
		}
	}
	return RowStats{Sum: p.sum[0], SumSquares: p.squares[0]}
}

// squaresPure adds the squares of products from number from on to their partial sums; both slices have the same length.
func squaresPure(sums *[squareLanes]float64, row, gain []float32, from int) {
	for j := from; j < len(row); j++ {
		v := float64(row[j]) * float64(gain[j]) // exact
		sums[j%squareLanes] += float64(v * v)   // the conversion forbids fusing
	}
}

// addScaledPure adds row[from:] to cols; both have the same length.
func addScaledPure(cols, row []float32, negative bool, from int) {
	if negative {
		for j := from; j < len(row); j++ {
			cols[j] -= row[j]
		}
		return
	}
	for j := from; j < len(row); j++ {
		cols[j] += row[j]
	}
}
