package formats_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"weightwarden/formats"
)

type diskFile struct {
	*os.File
	size int64
}

func (d diskFile) Size() int64 { return d.size }

// BenchmarkStrided reads 256 MiB through strides out of a sparse file.
func BenchmarkStrided(b *testing.B) {
	const n = 256 << 20
	f, err := os.Create(filepath.Join(b.TempDir(), "data"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(2 * n); err != nil {
		b.Fatal(err)
	}
	for name, tc := range map[string]struct {
		dtype          formats.DType
		shape, strides []int64
	}{
		"contiguous":   {formats.F32, []int64{8192, 8192}, nil},
		"transposed":   {formats.F32, []int64{8192, 8192}, []int64{1, 8192}},
		"transposed16": {formats.F16, []int64{8192, 16384}, []int64{1, 8192}},
		"rows":         {formats.F32, []int64{8192, 8192}, []int64{16384, 1}},
		"channelsLast": {formats.F32, []int64{16, 64, 256, 256}, []int64{64 * 256 * 256, 1, 64 * 256, 64}},
		"everySecond":  {formats.F32, []int64{64 << 20}, []int64{2}},
	} {
		b.Run(name, func(b *testing.B) {
			t := formats.Tensor{DType: tc.dtype, Shape: tc.shape, Data: formats.Extent{Source: diskFile{f, 2 * n}, Length: n, Strides: tc.strides}}
			b.SetBytes(n)
			b.ReportAllocs()
			for b.Loop() {
				r, err := t.Reader()
				if err != nil {
					b.Fatal(err)
				}
				if got, err := io.Copy(io.Discard, r); err != nil || got != n {
					b.Fatal(got, err)
				}
			}
		})
	}
}
