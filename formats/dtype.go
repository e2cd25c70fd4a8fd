package formats

import "fmt"

// DType is the element type of a tensor, or the block type of a packed one. The
// numbers are part of the fingerprint encoding: never change or reuse one.
type DType uint16

// Plain types: one element after the other, little-endian once read through
// Tensor.Reader. Sub-byte types are packed low bits first.
const (
	Unknown DType = 0 // opaque bytes
	F64     DType = 1
	F32     DType = 2
	F16     DType = 3
	BF16    DType = 4
	F8E4M3  DType = 5 // OCP E4M3FN: no infinities
	F8E5M2  DType = 6
	F8E4M3Z DType = 7 // FNUZ: one zero, bias 8
	F8E5M2Z DType = 8 // FNUZ, bias 16
	F8E8M0  DType = 9 // power-of-two scale
	F6E2M3  DType = 10
	F6E3M2  DType = 11
	F4E2M1  DType = 12
	C64     DType = 13 // two F32
	C128    DType = 14 // two F64
	C32     DType = 15 // two F16
	I64     DType = 20
	I32     DType = 21
	I16     DType = 22
	I8      DType = 23
	I4      DType = 24
	I2      DType = 25
	U64     DType = 26
	U32     DType = 27
	U16     DType = 28
	U8      DType = 29
	U4      DType = 30
	U2      DType = 31
	Bool    DType = 32 // one byte each
	U1      DType = 33 // Core ML's codes and masks, as all narrow types low bits first
	U3      DType = 34
	U6      DType = 35
)

// Block types of ggml; the number is ggmlBase + the type's id in ggml.h
// (commit of 2026-08-21). Sizes: docs/formats/gguf.md.
const (
	ggmlBase DType = 1000

	Q4_0    DType = ggmlBase + 2
	Q4_1    DType = ggmlBase + 3
	Q5_0    DType = ggmlBase + 6
	Q5_1    DType = ggmlBase + 7
	Q8_0    DType = ggmlBase + 8
	Q8_1    DType = ggmlBase + 9
	Q2_K    DType = ggmlBase + 10
	Q3_K    DType = ggmlBase + 11
	Q4_K    DType = ggmlBase + 12
	Q5_K    DType = ggmlBase + 13
	Q6_K    DType = ggmlBase + 14
	Q8_K    DType = ggmlBase + 15
	IQ2_XXS DType = ggmlBase + 16
	IQ2_XS  DType = ggmlBase + 17
	IQ3_XXS DType = ggmlBase + 18
	IQ1_S   DType = ggmlBase + 19
	IQ4_NL  DType = ggmlBase + 20
	IQ3_S   DType = ggmlBase + 21
	IQ2_S   DType = ggmlBase + 22
	IQ4_XS  DType = ggmlBase + 23
	IQ1_M   DType = ggmlBase + 29
	Q4_0_44 DType = ggmlBase + 31 // Q4_0_4_4: rows interleaved by four, removed from ggml
	Q4_0_48 DType = ggmlBase + 32
	Q4_0_88 DType = ggmlBase + 33
	TQ1_0   DType = ggmlBase + 34
	TQ2_0   DType = ggmlBase + 35
	IQ4_44  DType = ggmlBase + 36 // IQ4_NL_4_4, removed from ggml
	IQ4_48  DType = ggmlBase + 37
	IQ4_88  DType = ggmlBase + 38
	MXFP4   DType = ggmlBase + 39
	NVFP4   DType = ggmlBase + 40
	Q1_0    DType = ggmlBase + 41
	Q2_0    DType = ggmlBase + 42
)

// layout is how many elements one block of a type holds, and in how many bits.
type layout struct {
	name     string
	elements int64
	bits     int64
}

func (d DType) layout() (layout, bool) {
	var l layout
	switch {
	case int(d) < len(plainLayouts):
		l = plainLayouts[d]
	case d >= ggmlBase && int(d-ggmlBase) < len(blockLayouts):
		l = blockLayouts[d-ggmlBase]
	}
	return l, l.elements != 0
}

// plainLayouts is indexed by DType.
var plainLayouts = [...]layout{
	F64: {"F64", 1, 64}, F32: {"F32", 1, 32}, F16: {"F16", 1, 16}, BF16: {"BF16", 1, 16},
	F8E4M3: {"F8_E4M3", 1, 8}, F8E5M2: {"F8_E5M2", 1, 8}, F8E4M3Z: {"F8_E4M3FNUZ", 1, 8},
	F8E5M2Z: {"F8_E5M2FNUZ", 1, 8}, F8E8M0: {"F8_E8M0", 1, 8}, F6E2M3: {"F6_E2M3", 1, 6},
	F6E3M2: {"F6_E3M2", 1, 6}, F4E2M1: {"F4", 1, 4}, C64: {"C64", 1, 64}, C128: {"C128", 1, 128},
	C32: {"C32", 1, 32}, I64: {"I64", 1, 64}, I32: {"I32", 1, 32}, I16: {"I16", 1, 16},
	I8: {"I8", 1, 8}, I4: {"I4", 1, 4}, I2: {"I2", 1, 2}, U64: {"U64", 1, 64}, U32: {"U32", 1, 32},
	U16: {"U16", 1, 16}, U8: {"U8", 1, 8}, U4: {"U4", 1, 4}, U2: {"U2", 1, 2}, Bool: {"BOOL", 1, 8},
	U1: {"U1", 1, 1}, U3: {"U3", 1, 3}, U6: {"U6", 1, 6},
}

// blockLayouts is indexed by DType - ggmlBase.
var blockLayouts = [...]layout{
	Q4_0 - ggmlBase: {"Q4_0", 32, 18 * 8}, Q4_1 - ggmlBase: {"Q4_1", 32, 20 * 8}, Q5_0 - ggmlBase: {"Q5_0", 32, 22 * 8},
	Q5_1 - ggmlBase: {"Q5_1", 32, 24 * 8}, Q8_0 - ggmlBase: {"Q8_0", 32, 34 * 8}, Q8_1 - ggmlBase: {"Q8_1", 32, 36 * 8},
	Q2_K - ggmlBase: {"Q2_K", 256, 84 * 8}, Q3_K - ggmlBase: {"Q3_K", 256, 110 * 8}, Q4_K - ggmlBase: {"Q4_K", 256, 144 * 8},
	Q5_K - ggmlBase: {"Q5_K", 256, 176 * 8}, Q6_K - ggmlBase: {"Q6_K", 256, 210 * 8}, Q8_K - ggmlBase: {"Q8_K", 256, 292 * 8},
	IQ2_XXS - ggmlBase: {"IQ2_XXS", 256, 66 * 8}, IQ2_XS - ggmlBase: {"IQ2_XS", 256, 74 * 8}, IQ3_XXS - ggmlBase: {"IQ3_XXS", 256, 98 * 8},
	IQ1_S - ggmlBase: {"IQ1_S", 256, 50 * 8}, IQ4_NL - ggmlBase: {"IQ4_NL", 32, 18 * 8}, IQ3_S - ggmlBase: {"IQ3_S", 256, 110 * 8},
	IQ2_S - ggmlBase: {"IQ2_S", 256, 82 * 8}, IQ4_XS - ggmlBase: {"IQ4_XS", 256, 136 * 8}, IQ1_M - ggmlBase: {"IQ1_M", 256, 56 * 8},
	Q4_0_44 - ggmlBase: {"Q4_0_4_4", 32, 18 * 8}, Q4_0_48 - ggmlBase: {"Q4_0_4_8", 32, 18 * 8}, Q4_0_88 - ggmlBase: {"Q4_0_8_8", 32, 18 * 8},
	TQ1_0 - ggmlBase: {"TQ1_0", 256, 54 * 8}, TQ2_0 - ggmlBase: {"TQ2_0", 256, 66 * 8}, IQ4_44 - ggmlBase: {"IQ4_NL_4_4", 32, 18 * 8},
	IQ4_48 - ggmlBase: {"IQ4_NL_4_8", 32, 18 * 8}, IQ4_88 - ggmlBase: {"IQ4_NL_8_8", 32, 18 * 8}, MXFP4 - ggmlBase: {"MXFP4", 32, 17 * 8},
	NVFP4 - ggmlBase: {"NVFP4", 64, 36 * 8}, Q1_0 - ggmlBase: {"Q1_0", 128, 18 * 8}, Q2_0 - ggmlBase: {"Q2_0", 64, 18 * 8},
}

// GGML returns the DType of a ggml type id, and false for ids that ggml removed
// without successor or that this table does not know.
func GGML(id uint32) (DType, bool) {
	switch id {
	case 0:
		return F32, true
	case 1:
		return F16, true
	case 24:
		return I8, true
	case 25:
		return I16, true
	case 26:
		return I32, true
	case 27:
		return I64, true
	case 28:
		return F64, true
	case 30:
		return BF16, true
	}
	if id > 0xffff-uint32(ggmlBase) {
		return Unknown, false
	}
	d := ggmlBase + DType(id)
	if _, ok := d.layout(); !ok {
		return Unknown, false
	}
	return d, true
}

// String returns the name used in output and JSON: F32, BF16, Q4_K ...
func (d DType) String() string {
	if d == Unknown {
		return "opaque"
	}
	if l, ok := d.layout(); ok {
		return l.name
	}
	return fmt.Sprintf("dtype(%d)", uint16(d))
}

// Block returns how many elements one block holds and how many bits it takes:
// 1 and 16 for F16, 256 and 1152 for Q4_K. Both are 0 for Unknown.
func (d DType) Block() (elements, bits int64) {
	l, _ := d.layout()
	return l.elements, l.bits
}

// IsBlock reports whether elements are packed in blocks with their own scales.
func (d DType) IsBlock() bool { return d >= ggmlBase }

// IsFloat reports whether elements are floating-point numbers, packed ones included.
func (d DType) IsFloat() bool { return (d >= F64 && d <= C32) || d.IsBlock() }

// Bytes returns the bytes that n elements take, and false where n does not fill
// whole blocks or bytes, where the product overflows, or for Unknown.
func (d DType) Bytes(n int64) (int64, bool) {
	l, ok := d.layout()
	if !ok || n < 0 || n%l.elements != 0 {
		return 0, false
	}
	blocks := n / l.elements
	if blocks > (1<<62)/l.bits {
		return 0, false
	}
	bits := blocks * l.bits
	return bits / 8, bits%8 == 0
}

// StoredBytes is Bytes for a tensor as a whole, whose elements of less than a byte
// (I4, F4 ...) may leave the last byte half empty: 8 for 15 elements of I4.
func (d DType) StoredBytes(n int64) (int64, bool) {
	l, ok := d.layout()
	if !ok || n < 0 || d.IsBlock() || l.bits >= 8 || n > (1<<62)/l.bits {
		return d.Bytes(n)
	}
	return (n*l.bits + 7) / 8, true
}
