package formats_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"weightwarden/formats"
)

// Big-endian contents read as little-endian ones, through buffers of any size.
func TestReaderOfBigEndianContents(t *testing.T) {
	tests := []struct {
		dtype   formats.DType
		size    int   // bytes of an element or block
		reverse []int // where runs of width bytes are reversed
		width   int
	}{
		{formats.F16, 2, []int{0}, 2},
		{formats.F32, 4, []int{0}, 4},
		{formats.I64, 8, []int{0}, 8},
		{formats.C64, 8, []int{0, 4}, 4},
		{formats.U8, 1, nil, 0},
		{formats.Q4_0, 18, []int{0}, 2},
		{formats.Q4_K, 144, []int{0, 2}, 2},
		{formats.Q6_K, 210, []int{208}, 2},
		{formats.MXFP4, 17, nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.dtype.String(), func(t *testing.T) {
			const count = 5000 // more than a buffer
			want := make([]byte, count*tt.size)
			for i := range want {
				want[i] = byte(i*7 + i/251)
			}
			stored := bytes.Clone(want)
			for at := 0; at < len(stored); at += tt.size {
				for _, r := range tt.reverse {
					for k := range tt.width {
						stored[at+r+k] = want[at+r+tt.width-1-k]
					}
				}
			}
			elements, _ := tt.dtype.Block()
			x := formats.Tensor{Name: "w", DType: tt.dtype, Shape: []int64{count * elements}, Data: formats.Extent{
				Source: formats.BytesSource(stored), Length: int64(len(stored)), BigEndian: true}}
			for name, small := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader} {
				r, err := x.Reader()
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(small(r))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: read %d bytes, %v; they differ from the little-endian ones", name, len(got), err)
				}
			}
		})
	}
}

func TestReaderRefusesUnknownByteOrder(t *testing.T) {
	x := formats.Tensor{DType: formats.IQ2_XXS, Shape: []int64{256}, Data: formats.Extent{
		Source: formats.BytesSource(make([]byte, 66)), Length: 66, BigEndian: true}}
	if r, err := x.Reader(); r != nil || !errors.Is(err, formats.ErrUnsupported) {
		t.Errorf("Reader = %v, %v, want ErrUnsupported", r, err)
	}
}

func TestReaderOfTruncatedBigEndianBlock(t *testing.T) {
	x := formats.Tensor{DType: formats.Q4_0, Shape: []int64{64}, Data: formats.Extent{
		Source: formats.BytesSource(make([]byte, 35)), Length: 35, BigEndian: true}}
	r, err := x.Reader()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, formats.ErrTruncated) {
		t.Errorf("reading half a block gives %v, want ErrTruncated", err)
	}
}
