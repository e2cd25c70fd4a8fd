package quant_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// benchTypes are the types that real files are full of.
var benchTypes = []formats.DType{formats.F32, formats.F16, formats.BF16, formats.F8E4M3, formats.I8, formats.U4,
	formats.Q4_0, formats.Q4_1, formats.Q5_0, formats.Q5_1, formats.Q8_0, formats.Q2_K, formats.Q3_K, formats.Q4_K, formats.Q5_K,
	formats.Q6_K, formats.IQ2_XXS, formats.IQ2_S, formats.IQ3_XXS, formats.IQ3_S, formats.IQ1_S, formats.IQ1_M, formats.IQ4_NL,
	formats.IQ4_XS, formats.TQ1_0, formats.TQ2_0, formats.MXFP4, formats.NVFP4, formats.Q1_0, formats.Q2_0}

// BenchmarkDecode measures packed bytes a second on one core, in cache.
func BenchmarkDecode(b *testing.B) {
	for _, d := range benchTypes {
		b.Run(d.String(), func(b *testing.B) {
			const n = 16384
			size, _ := d.Bytes(n)
			src := randomBytes(int(size))
			if d == formats.F16 { // weights, not the exponents of random bytes
				for i := 1; i < len(src); i += 2 {
					src[i] = src[i]&0x83 | 0x24
				}
			}
			dst := make([]float32, n)
			b.SetBytes(size)
			for b.Loop() {
				if err := quant.Decode(d, dst, src); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gnum/s")
		})
	}
}

// BenchmarkReadRows measures a reader over memory, with its copying.
func BenchmarkReadRows(b *testing.B) {
	for _, d := range []formats.DType{formats.BF16, formats.Q4_K, formats.Q4_0_88} {
		b.Run(d.String(), func(b *testing.B) {
			const rows, cols = 1024, 4096
			size, _ := d.Bytes(rows * cols)
			m := &formats.Model{Tensors: []formats.Tensor{tensor("w", d, randomBytes(int(size)), rows, cols)}}
			benchRows(b, m, size)
		})
	}
}

// benchRows reads the first view of m 64 rows at a time.
func benchRows(b *testing.B, m *formats.Model, size int64) {
	b.Helper()
	views := quant.Views(m)
	r, err := views[0].Reader()
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]float32, 64*views[0].Cols)
	b.SetBytes(size)
	for b.Loop() {
		for row := int64(0); row+64 <= views[0].Rows; row += 64 {
			if err := r.ReadRows(dst, row, 64); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func randomBytes(n int) []byte {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// Reading a row must not make garbage: a model has millions of them.
func TestReadRowsDoesNotAllocate(t *testing.T) {
	for _, d := range []formats.DType{formats.F32, formats.BF16, formats.Q4_K, formats.U4} {
		t.Run(fmt.Sprint(d), func(t *testing.T) {
			size, _ := d.Bytes(64 * 512)
			m := &formats.Model{Tensors: []formats.Tensor{tensor("w", d, randomBytes(int(size)), 64, 512)}}
			views := quant.Views(m)
			r, err := views[0].Reader()
			if err != nil {
				t.Fatal(err)
			}
			dst := make([]float32, 512)
			allocs := testing.AllocsPerRun(100, func() {
				if err := r.ReadRows(dst, 17, 1); err != nil {
					t.Fatal(err)
				}
			})
			if allocs != 0 {
				t.Errorf("%v allocations a row", allocs)
			}
		})
	}
}
