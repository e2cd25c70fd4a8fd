package quant_test

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// same compares bit for bit, so that -0 differs from 0 and NaN equals itself.
var same = cmp.Comparer(func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })

func TestDecodePlain(t *testing.T) {
	nan, inf, negZero := float32(math.NaN()), float32(math.Inf(1)), float32(math.Copysign(0, -1))
	tests := []struct {
		dtype formats.DType
		src   []byte
		want  []float32
	}{
		{formats.F64, binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.1)), []float32{0.1}},
		{formats.F32, binary.LittleEndian.AppendUint32(nil, math.Float32bits(-1.5e-40)), []float32{-1.5e-40}},
		{formats.F16, []byte{0, 0x3c, 0, 0xc0, 1, 0, 0xff, 3, 0, 0x80, 0, 0x7c, 0xff, 0x7b},
			[]float32{1, -2, 0x1p-24, 0x1p-14 - 0x1p-24, negZero, inf, 65504}},
		{formats.BF16, []byte{0x80, 0x3f, 0x80, 0xbf, 0, 0x80, 0x80, 0x7f, 1, 0}, []float32{1, -1, negZero, inf, 0x1p-133}},
		{formats.F8E4M3, []byte{0x38, 0x7e, 0x01, 0x80, 0xb8}, []float32{1, 448, 0x1p-9, negZero, -1}},
		{formats.F8E5M2, []byte{0x3c, 0x7b, 0x7c, 0xfc, 0x01}, []float32{1, 57344, inf, -inf, 0x1p-16}},
		{formats.F8E4M3Z, []byte{0x40, 0x7f, 0x01, 0xc0}, []float32{1, 240, 0x1p-10, -1}},
		{formats.F8E5M2Z, []byte{0x40, 0x7f, 0x01, 0xc0}, []float32{1, 57344, 0x1p-17, -1}},
		{formats.F8E8M0, []byte{127, 0, 254}, []float32{1, 0x1p-127, 0x1p127}},
		{formats.F6E2M3, []byte{0x1f | 0x08<<6&0xff, 0x08>>2 | 0x21<<4&0xff, 0x21>>4 | 0x3f<<2}, []float32{7.5, 1, -0.125, -7.5}},
		{formats.F6E3M2, []byte{0x1f | 0x0c<<6&0xff, 0x0c >> 2}, []float32{28, 1}},
		{formats.F4E2M1, []byte{0x21, 0xf7, 0x08}, []float32{0.5, 1, 6, -6, negZero}},
		{formats.C64, append([]byte{0, 0, 0x80, 0x3f}, 0, 0, 0, 0xc0), []float32{1, -2}},
		{formats.C32, []byte{0, 0x3c, 0, 0xc0}, []float32{1, -2}},
		{formats.I64, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []float32{-2}},
		{formats.U64, []byte{0, 0, 0, 0, 0, 0, 0, 0x80}, []float32{0x1p63}},
		{formats.I32, []byte{0xfe, 0xff, 0xff, 0xff}, []float32{-2}},
		{formats.U32, []byte{0, 0, 0, 0x80}, []float32{0x1p31}},
		{formats.I16, []byte{0, 0x80}, []float32{-32768}},
		{formats.U16, []byte{0, 0x80}, []float32{32768}},
		{formats.I8, []byte{0x80, 0x7f}, []float32{-128, 127}},
		{formats.U8, []byte{0x80, 0x7f}, []float32{128, 127}},
		{formats.I4, []byte{0x8f, 0x07}, []float32{-1, -8, 7}},
		{formats.U4, []byte{0x8f, 0x07}, []float32{15, 8, 7}},
		{formats.I2, []byte{0xe4, 0x03}, []float32{0, 1, -2, -1, -1}},
		{formats.U2, []byte{0xe4, 0x03}, []float32{0, 1, 2, 3, 3}},
		{formats.Bool, []byte{0, 1, 0xff}, []float32{0, 1, 1}},
	}
	for _, tt := range tests {
		got := make([]float32, len(tt.want))
		if err := quant.Decode(tt.dtype, got, tt.src); err != nil {
			t.Errorf("%s: %v", tt.dtype, err)
		} else if diff := cmp.Diff(tt.want, got, same); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.dtype, diff)
		}
	}
	for dtype, code := range map[formats.DType]byte{formats.F8E4M3: 0x7f, formats.F8E5M2: 0x7d,
		formats.F8E4M3Z: 0x80, formats.F8E5M2Z: 0x80, formats.F8E8M0: 0xff} {
		got := []float32{0}
		if err := quant.Decode(dtype, got, []byte{code}); err != nil || !math.IsNaN(float64(got[0])) {
			t.Errorf("%s code %#x = %v, %v, want NaN (%v)", dtype, code, got[0], err, nan)
		}
	}
}

// Every binary16 is widened exactly: the value computed from its fields.
func TestDecodeF16AllCodes(t *testing.T) {
	src := make([]byte, 2<<16)
	for i := range 1 << 16 {
		binary.LittleEndian.PutUint16(src[2*i:], uint16(i))
	}
	got := make([]float32, 1<<16)
	if err := quant.Decode(formats.F16, got, src); err != nil {
		t.Fatal(err)
	}
	for i, g := range got {
		exponent, mantissa := i>>10&31, float64(i&1023)
		want := math.Ldexp(1+mantissa/1024, exponent-15)
		switch exponent {
		case 0:
			want = math.Ldexp(mantissa, -24)
		case 31:
			want = math.Inf(1)
			if mantissa != 0 {
				if !math.IsNaN(float64(g)) {
					t.Fatalf("code %#x = %v, want NaN", i, g)
				}
				continue
			}
		}
		if i>>15 == 1 {
			want = math.Copysign(want, -1)
		}
		if math.Float64bits(float64(g)) != math.Float64bits(want) {
			t.Fatalf("code %#x = %v, want %v", i, g, want)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	tests := []struct {
		name    string
		dtype   formats.DType
		numbers int
		bytes   int
		want    error
	}{
		{"opaque", formats.Unknown, 1, 1, formats.ErrUnsupported},
		{"gap in the table", formats.DType(19), 1, 1, formats.ErrUnsupported},
		{"beyond the table", formats.DType(65535), 1, 1, formats.ErrUnsupported},
		{"removed ggml type", formats.DType(1004), 32, 18, formats.ErrUnsupported},
		{"interleaved", formats.Q4_0_44, 32, 18, formats.ErrUnsupported},
		{"short", formats.F32, 2, 7, formats.ErrTruncated},
		{"short nibbles", formats.U4, 3, 1, formats.ErrTruncated},
		{"half a complex", formats.C64, 1, 8, formats.ErrMalformed},
		{"part of a block", formats.Q8_0, 31, 34, formats.ErrMalformed},
		{"short block", formats.Q8_0, 32, 33, formats.ErrTruncated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := quant.Decode(tt.dtype, make([]float32, tt.numbers), make([]byte, tt.bytes))
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}
