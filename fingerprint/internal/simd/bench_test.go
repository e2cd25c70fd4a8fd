package simd

import "testing"

// eachPathBench runs a benchmark on every path this processor has; bytes is what one turn reads of a file.
func eachPathBench(b *testing.B, bytes int, turn func(p path)) {
	for _, p := range available() {
		b.Run(p.String(), func(b *testing.B) {
			b.SetBytes(int64(bytes))
			for b.Loop() {
				turn(p)
			}
		})
	}
}

const benchColumns = 4096

func BenchmarkFindCut(b *testing.B) {
	data := newSource().bytes(256 << 10)
	eachPathBench(b, len(data), func(p path) { p.findCut(data, 0x9e3779b1, 0x85ebca6b, 1, 0) })
}

func BenchmarkAccumulateClipped(b *testing.B) {
	s := newSource()
	row, signs, acc := s.floats(benchColumns, false), s.words(benchColumns/32), make([]float32, 256)
	eachPathBench(b, 4*benchColumns, func(p path) { p.accumulateClipped(acc, row, signs, 0.1, 3) })
}

func BenchmarkAccumulate(b *testing.B) {
	s := newSource()
	row, signs, acc := s.floats(benchColumns, false), s.words(benchColumns/32), make([]float32, 256)
	eachPathBench(b, 4*benchColumns, func(p path) { p.accumulate(acc, row, signs) })
}

func BenchmarkStats(b *testing.B) {
	row := newSource().floats(benchColumns, false)
	eachPathBench(b, 4*benchColumns, func(p path) { p.stats(row) })
}

func BenchmarkAddScaled(b *testing.B) {
	row, cols := newSource().floats(benchColumns, false), make([]float32, benchColumns)
	eachPathBench(b, 4*benchColumns, func(p path) { p.addScaled(cols, row, true) })
}

func BenchmarkWiden(b *testing.B) {
	dst := make([]float32, benchColumns)
	for name, w := range widenings {
		src := newSource().bytes(benchColumns * w.size())
		b.Run(name, func(b *testing.B) { eachPathBench(b, len(src), func(p path) { p.widen(dst, src, w) }) })
	}
}

func BenchmarkDecodeBlocks(b *testing.B) {
	dst := make([]float32, benchColumns)
	for name, k := range blocks {
		values, size := k.shape()
		src := newSource().bytes(benchColumns / values * size)
		b.Run(name, func(b *testing.B) { eachPathBench(b, len(src), func(p path) { p.decodeBlocks(dst, src, k) }) })
	}
}
