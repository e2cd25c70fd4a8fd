package formats_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"weightwarden/formats"
)

// naive reads a strided tensor element by element.
func naive(t *formats.Tensor, data []byte) []byte {
	_, bits := t.DType.Block()
	width := bits / 8
	var out []byte
	index := make([]int64, len(t.Shape))
	for n := t.Elements(); n > 0; n-- {
		off := t.Data.Offset
		for i, x := range index {
			off += x * t.Data.Strides[i] * width
		}
		out = append(out, data[off:off+width]...)
		for i := len(index) - 1; i >= 0; i-- {
			if index[i]++; index[i] < t.Shape[i] {
				break
			}
			index[i] = 0
		}
	}
	return out
}

// randomView makes a view of data the way slicing, permuting, expanding and
// flipping do.
func randomView(rng *rand.Rand, data []byte) *formats.Tensor {
	types := []formats.DType{formats.U8, formats.F16, formats.F32, formats.F64, formats.C128}
	d := types[rng.IntN(len(types))]
	_, bits := d.Block()
	width := bits / 8
	left := int64(len(data)) / width
	axes := rng.IntN(5)
	shape, strides := make([]int64, axes), make([]int64, axes)
	low, stride := int64(0), int64(1)
	for _, i := range rng.Perm(axes) {
		size := 1 + rng.Int64N(12)
		if rng.IntN(4) == 0 {
			size = 1 + rng.Int64N(700)
		}
		step := stride * (1 + rng.Int64N(3))
		if (size-1)*step >= left-1 {
			size = 1
		}
		left -= (size - 1) * step
		shape[i], strides[i] = size, step
		switch rng.IntN(10) {
		case 0:
			strides[i] = 0
		case 1:
			strides[i], low = -step, low+(size-1)*step
		case 2:
			if rng.IntN(5) == 0 {
				shape[i] = 0
			}
		}
		stride = step * size
	}
	t := &formats.Tensor{DType: d, Shape: shape}
	t.Data = formats.Extent{Source: formats.BytesSource(data), Offset: low * width, Strides: strides}
	return t
}

func TestStridedReaderAgainstNaive(t *testing.T) {
	data := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	for i := range 600 {
		tensor := randomView(rng, data)
		if tensor.Elements() > 1<<18 {
			continue
		}
		r, err := tensor.Reader()
		if err != nil {
			t.Fatalf("case %d: %v: %v", i, tensor.Shape, err)
		}
		if i%7 == 0 {
			r = iotest.HalfReader(r)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, naive(tensor, data)) {
			t.Fatalf("case %d: shape %v strides %v: %d bytes, %v", i, tensor.Shape, tensor.Data.Strides, len(got), err)
		}
	}
}

// countSource counts what is read from it.
type countSource struct {
	formats.Source
	reads int
	bytes int64
}

func (c *countSource) ReadAt(p []byte, off int64) (int, error) {
	c.reads++
	c.bytes += int64(len(p))
	return c.Source.ReadAt(p, off)
}

func TestStridedReaderReadsLittle(t *testing.T) {
	data := make([]byte, 16<<20)
	for name, tc := range map[string]struct {
		shape, strides []int64
		bytes          int64
		reads          int
	}{
		"transposed":    {[]int64{2048, 2048}, []int64{1, 2048}, 17 << 20, 2100},
		"rows":          {[]int64{512, 2048}, []int64{4096, 1}, 5 << 20, 520},
		"one column":    {[]int64{2000}, []int64{2048}, 1 << 20, 2001},
		"channels last": {[]int64{4, 64, 128, 128}, []int64{1 << 20, 1, 8192, 64}, 17 << 20, 300},
		"every second":  {[]int64{1 << 20}, []int64{2}, 9 << 20, 200},
	} {
		src := &countSource{Source: formats.BytesSource(data)}
		tensor := formats.Tensor{DType: formats.F32, Shape: tc.shape, Data: formats.Extent{Source: src, Strides: tc.strides}}
		r, err := tensor.Reader()
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		want, _ := tensor.Bytes()
		if err != nil || n != want {
			t.Fatalf("%s: %d of %d bytes: %v", name, n, want, err)
		}
		if src.bytes > tc.bytes || src.reads > tc.reads {
			t.Errorf("%s: %d bytes in %d reads, want at most %d in %d", name, src.bytes, src.reads, tc.bytes, tc.reads)
		}
	}
}

func TestStridedReaderRefuses(t *testing.T) {
	for name, tensor := range map[string]formats.Tensor{
		"outside":     {DType: formats.F32, Shape: []int64{4, 4}, Data: formats.Extent{Strides: []int64{1, 100}}},
		"below":       {DType: formats.F32, Shape: []int64{4}, Data: formats.Extent{Strides: []int64{-1}}},
		"overflow":    {DType: formats.F32, Shape: []int64{1 << 40, 1 << 20}, Data: formats.Extent{Strides: []int64{1 << 40, 1 << 40}}},
		"axes":        {DType: formats.F32, Shape: []int64{4}, Data: formats.Extent{Strides: []int64{1, 1}}},
		"block":       {DType: formats.Q8_0, Shape: []int64{32}, Data: formats.Extent{Strides: []int64{2}}},
		"huge expand": {DType: formats.F32, Shape: []int64{1 << 40, 1 << 40}, Data: formats.Extent{Strides: []int64{0, 0}}},
	} {
		tensor.Data.Source = formats.BytesSource(make([]byte, 64))
		if _, err := tensor.Reader(); !errors.Is(err, formats.ErrMalformed) && !errors.Is(err, formats.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBigEndianStrided(t *testing.T) {
	tensor := formats.Tensor{DType: formats.F16, Shape: []int64{2, 2}, Data: formats.Extent{
		Source: formats.BytesSource{0, 1, 2, 3, 4, 5, 6, 7}, Strides: []int64{1, 2}, BigEndian: true}}
	r, err := tensor.Reader()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if want := []byte{1, 0, 5, 4, 3, 2, 7, 6}; err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got %v, want %v: %v", got, want, err)
	}
}
