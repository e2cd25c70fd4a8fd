package quant

import (
	"fmt"

	"weightwarden/formats"
)

// decoder expands len(dst) numbers; the caller has checked that src holds them.
type decoder func(dst []float32, src []byte)

// CanDecode reports whether Decode knows d. The row-interleaved block types that
// ggml removed (Q4_0_4_4 and its kin) are not among them, since their elements
// cannot be told apart without the row length: Views reads those.
func CanDecode(d formats.DType) bool { return decoderOf(d) != nil }

// Numbers returns how many float32 one element of d makes: 2 for complex types
// (real part first), 1 for all others.
func Numbers(d formats.DType) int64 {
	switch d {
	case formats.C32, formats.C64, formats.C128:
		return 2
	}
	return 1
}

// Decode expands the first len(dst) numbers of packed little-endian src, whose
// elements are of type d, into dst. A complex element is two numbers. The length
// must be whole elements and whole blocks, and src must hold them; what follows
// in src is ignored. 64-bit values are rounded to the nearest f32. Decode does
// not allocate unless it fails; its errors wrap formats.ErrUnsupported,
// ErrMalformed or ErrTruncated.
func Decode(d formats.DType, dst []float32, src []byte) error {
	f := decoderOf(d)
	if f == nil {
		return fmt.Errorf("%w: no value decoder for %s", formats.ErrUnsupported, d)
	}
	need, err := packedBytes(d, int64(len(dst)))
	if err != nil {
		return err
	}
	if int64(len(src)) < need {
		return fmt.Errorf("%w: %d of %d bytes for %d numbers of %s",
			formats.ErrTruncated, len(src), need, len(dst), d)
	}
	f(dst, src[:need])
	return nil
}

// packedBytes is the number of bytes that hold n numbers of d, rounded up to
// whole bytes for types narrower than one.
func packedBytes(d formats.DType, n int64) (int64, error) {
	elements, bits := d.Block()
	per := elements * Numbers(d)
	if per == 0 || n < 0 || n%per != 0 || n/per > (1<<62)/bits {
		return 0, fmt.Errorf("%w: %d numbers are not whole elements of %s", formats.ErrMalformed, n, d)
	}
	return (n/per*bits + 7) / 8, nil
}

func decoderOf(d formats.DType) decoder {
	switch {
	case int(d) < len(plainDecoders):
		return plainDecoders[d]
	case d.IsBlock() && int(d-blockBase) < len(blockDecoders):
		return blockDecoders[d-blockBase]
	}
	return nil
}

// blockBase is the DType of ggml's type id 0.
const blockBase = formats.Q4_0 - 2

// plainDecoders is indexed by formats.DType.
var plainDecoders = [...]decoder{
	formats.F64: decodeF64, formats.F32: decodeF32, formats.F16: decodeF16, formats.BF16: decodeBF16,
	formats.F8E4M3:  func(dst []float32, src []byte) { decodeTable8(dst, src, &tableE4M3) },
	formats.F8E5M2:  func(dst []float32, src []byte) { decodeTable8(dst, src, &tableE5M2) },
	formats.F8E4M3Z: func(dst []float32, src []byte) { decodeTable8(dst, src, &tableE4M3Z) },
	formats.F8E5M2Z: func(dst []float32, src []byte) { decodeTable8(dst, src, &tableE5M2Z) },
	formats.F8E8M0:  func(dst []float32, src []byte) { decodeTable8(dst, src, &tableE8M0) },
	formats.F6E2M3:  func(dst []float32, src []byte) { decodeTable6(dst, src, &tableE2M3) },
	formats.F6E3M2:  func(dst []float32, src []byte) { decodeTable6(dst, src, &tableE3M2) },
	formats.F4E2M1:  func(dst []float32, src []byte) { decodeTable4(dst, src, &tableE2M1) },
	formats.C64:     decodeF32, formats.C128: decodeF64, formats.C32: decodeF16,
	formats.I64: decodeI64, formats.I32: decodeI32, formats.I16: decodeI16, formats.I8: decodeI8,
	formats.I4:  func(dst []float32, src []byte) { decodeTable4(dst, src, &tableI4) },
	formats.I2:  func(dst []float32, src []byte) { decodeTable2(dst, src, &tableI2) },
	formats.U64: decodeU64, formats.U32: decodeU32, formats.U16: decodeU16, formats.U8: decodeU8,
	formats.U4:   func(dst []float32, src []byte) { decodeTable4(dst, src, &tableU4) },
	formats.U2:   func(dst []float32, src []byte) { decodeTable2(dst, src, &tableU2) },
	formats.Bool: decodeBool,
	formats.U1:   func(dst []float32, src []byte) { decodeStream(dst, src, 1) },
	formats.U3:   func(dst []float32, src []byte) { decodeStream(dst, src, 3) },
	formats.U6:   func(dst []float32, src []byte) { decodeStream(dst, src, 6) },
}
