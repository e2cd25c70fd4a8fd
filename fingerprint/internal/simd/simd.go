// Package simd holds the inner loops of the fingerprint: the chunk cut search, the row sketch, row statistics,
// column sums and the widening of packed weights to float32.
//
// Every kernel exists as plain Go (the files pure*.go, which define the result) and, where the processor allows it, as
// assembly written by the generators in fingerprint/_asm. All paths give the same bits: the order of every float
// operation is part of the definition, products are rounded before they are added, and only the payload of a NaN is left
// open. Weights are little-endian as they lie in files.
//
// The path is chosen once, from the processor and the environment variable WEIGHTWARDEN_SIMD (see Active). The build tag
// purego leaves all assembly out.
package simd

// FindCut returns the first position p >= from, a multiple of 4 counted from data[0], with p+8 <= len(data) and
//
//	load32(p)*c1 + load32(p+4)*c2 < threshold
//
// in unsigned 32-bit arithmetic that wraps, loads being little-endian. It returns -1 where there is none. A negative from
// counts as 0; one that is no multiple of 4 is rounded up.
func FindCut(data []byte, c1, c2, threshold uint32, from int) int {
	return active.findCut(data, c1, c2, threshold, from)
}

// Accumulate256 adds a row to 256 strided buckets: acc[j%256] += s(j)*row[j] for j = 0, 1, ..., where s(j) is -1 if bit
// j%32 of signs[j/32] is set and +1 otherwise. Columns beyond 32*len(signs) are left out.
func Accumulate256(acc *[256]float32, row []float32, signs []uint32) {
	active.accumulate(acc[:], row, signs)
}

// Accumulate64 is Accumulate256 with 64 buckets, for short rows.
func Accumulate64(acc *[64]float32, row []float32, signs []uint32) {
	active.accumulate(acc[:], row, signs)
}

// AccumulateClipped256 is Accumulate256 over the centred and clipped row: row[j]-mean is raised to -limit and lowered to
// +limit before its sign is applied. A NaN in the row stays one; limit must be none.
func AccumulateClipped256(acc *[256]float32, row []float32, signs []uint32, mean, limit float32) {
	active.accumulateClipped(acc[:], row, signs, mean, limit)
}

// AccumulateClipped64 is AccumulateClipped256 with 64 buckets.
func AccumulateClipped64(acc *[64]float32, row []float32, signs []uint32, mean, limit float32) {
	active.accumulateClipped(acc[:], row, signs, mean, limit)
}

// RowStats sums a row up.
type RowStats struct {
	Sum        float32 // of the values
	SumSquares float32 // of their squares, each rounded before it is added
}

// lanes is how many partial sums Stats keeps. Value j belongs to lane j%lanes; at the end lane i takes in lane i+16, then
// i+8, i+4, i+2, i+1.
const lanes = 32

// Stats returns the sums of a row, over 32 interleaved partial sums that are added up pairwise. A row with a NaN or with
// infinities has a Sum or SumSquares that is not finite; so has one whose squares overflow float32.
func Stats(row []float32) RowStats {
	return active.stats(row)
}

// AddScaled adds a row to column sums, or takes it away if negative is set: cols[j] += +-row[j] for every j that both
// slices have.
func AddScaled(cols, row []float32, negative bool) {
	active.addScaled(cols, row, negative)
}

// squareLanes is how many partial sums Squares keeps.
const squareLanes = 16

// Squares returns the sum of the squares of row[j]*gain[j] over every j that both slices have, in float64: over 16
// interleaved partial sums that are added up as those of Stats are.
func Squares(row, gain []float32) float64 { return active.squares(row, gain) }

// WidenF32 copies little-endian IEEE binary32 values and returns how many: min(len(dst), len(src)/4).
func WidenF32(dst []float32, src []byte) int { return active.widen(dst, src, widenF32) }

// WidenF16 decodes IEEE binary16 values, exactly, and returns how many: min(len(dst), len(src)/2). NaNs become quiet.
func WidenF16(dst []float32, src []byte) int { return active.widen(dst, src, widenF16) }

// WidenBF16 decodes bfloat16 values (the upper half of a binary32) and returns how many: min(len(dst), len(src)/2).
func WidenBF16(dst []float32, src []byte) int { return active.widen(dst, src, widenBF16) }

// WidenI8 decodes signed bytes and returns how many: min(len(dst), len(src)).
func WidenI8(dst []float32, src []byte) int { return active.widen(dst, src, widenI8) }

// WidenF8E4M3 decodes 8-bit floats of the OCP 8-bit floating point specification's E4M3 kind (no infinity, 0x7f and 0xff
// are NaN, largest 448) and returns how many: min(len(dst), len(src)).
func WidenF8E4M3(dst []float32, src []byte) int { return active.widen(dst, src, widenF8E4M3) }

// WidenF8E5M2 decodes 8-bit floats of the OCP specification's E5M2 kind (the upper half of a binary16) and returns how
// many: min(len(dst), len(src)).
func WidenF8E5M2(dst []float32, src []byte) int { return active.widen(dst, src, widenF8E5M2) }

// DecodeQ8_0 decodes ggml Q8_0 blocks (34 bytes, 32 values: binary16 scale d, 32 signed bytes q; value d*q). Only whole
// blocks that fit both slices are decoded; it returns the number of values.
func DecodeQ8_0(dst []float32, src []byte) int { return active.decodeBlocks(dst, src, blockQ8_0) }

// DecodeQ4_0 decodes ggml Q4_0 blocks (18 bytes, 32 values: binary16 scale d, 16 bytes whose low nibbles q are values 0-15
// and whose high nibbles are values 16-31; value d*(q-8)). Only whole blocks; it returns the number of values.
func DecodeQ4_0(dst []float32, src []byte) int { return active.decodeBlocks(dst, src, blockQ4_0) }

// DecodeQ4_K decodes ggml Q4_K blocks (144 bytes, 256 values in 8 groups of 32: binary16 d and dmin, 8 packed 6-bit pairs of
// scale and minimum, 128 bytes of nibbles; value (d*scale)*q - dmin*minimum). Only whole blocks; it returns the number of
// values.
func DecodeQ4_K(dst []float32, src []byte) int { return active.decodeBlocks(dst, src, blockQ4_K) }

// DecodeQ6_K decodes ggml Q6_K blocks (210 bytes, 256 values in 16 groups of 16: 128 bytes of low nibbles, 64 bytes of high
// bit pairs, 16 signed scales, binary16 d; value (d*scale)*(q-32)). Only whole blocks; it returns the number of values.
func DecodeQ6_K(dst []float32, src []byte) int { return active.decodeBlocks(dst, src, blockQ6_K) }

// DecodeQ5_K decodes ggml Q5_K blocks (176 bytes, 256 values: Q4_K with 32 bytes between scales and nibbles that hold the
// fifth bits, bit g of byte i for value i of group g). Only whole blocks; it returns the number of values.
func DecodeQ5_K(dst []float32, src []byte) int { return active.decodeBlocks(dst, src, blockQ5_K) }

// DecodeQ3_K decodes ggml Q3_K blocks (110 bytes, 256 values in 16 groups of 16: 32 bytes of third bits, 64 bytes of bit
// pairs, 16 packed 6-bit scales, binary16 d; value (d*(scale-32))*(q-4)). Only whole blocks; it returns the number of
// values.
func DecodeQ3_K(dst []float32, src []byte) int { return active.decodeBlocks(dst, src, blockQ3_K) }

// DecodeQ2_K decodes ggml Q2_K blocks (84 bytes, 256 values in 16 groups of 16: 16 pairs of 4-bit scale and minimum, 64
// bytes of bit pairs, binary16 d and dmin; value (d*scale)*q - dmin*minimum). Only whole blocks; it returns the number of
// values.
func DecodeQ2_K(dst []float32, src []byte) int { return active.decodeBlocks(dst, src, blockQ2_K) }

// DecodeIQ4_NL decodes ggml IQ4_NL blocks (18 bytes, 32 values: Q4_0 whose nibbles choose levels from a table). Only whole
// blocks; it returns the number of values.
func DecodeIQ4_NL(dst []float32, src []byte) int {
	return active.decodeBlocks(dst, src, blockIQ4_NL)
}

// DecodeIQ4_XS decodes ggml IQ4_XS blocks (136 bytes, 256 values: binary16 d, 8 scales whose upper 2 bits lie in 2 bytes
// and lower 4 bits in 4, 128 bytes of nibbles; value (d*(scale-32))*level). Only whole blocks; it returns the number of
// values.
func DecodeIQ4_XS(dst []float32, src []byte) int {
	return active.decodeBlocks(dst, src, blockIQ4_XS)
}

// DecodeMXFP4 decodes ggml MXFP4 blocks (17 bytes, 32 values: an E8M0 scale, 16 bytes of E2M1 nibbles). Only whole blocks;
// it returns the number of values.
func DecodeMXFP4(dst []float32, src []byte) int { return active.decodeBlocks(dst, src, blockMXFP4) }
