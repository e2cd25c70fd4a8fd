package quant

import (
	"encoding/binary"
	"math"

	"weightwarden/formats"
)

// blockDecoders is indexed by formats.DType - blockBase. Layouts and arithmetic
// are those of ggml's reference dequantisers (ggml-quants.c and ggml-common.h of
// llama.cpp, MIT licence, (c) The ggml authors), and the results equal theirs bit
// for bit: wherever a product is added to, float32() keeps the compiler from
// fusing the two, so that every processor computes the same.
var blockDecoders = [...]decoder{
	formats.Q4_0 - blockBase: decodeQ4_0, formats.Q4_1 - blockBase: decodeQ4_1,
	formats.Q5_0 - blockBase: decodeQ5_0, formats.Q5_1 - blockBase: decodeQ5_1,
	formats.Q8_0 - blockBase: decodeQ8_0, formats.Q8_1 - blockBase: decodeQ8_1,
	formats.Q2_K - blockBase: decodeQ2K, formats.Q3_K - blockBase: decodeQ3K,
	formats.Q4_K - blockBase: decodeQ4K, formats.Q5_K - blockBase: decodeQ5K,
	formats.Q6_K - blockBase: decodeQ6K, formats.Q8_K - blockBase: decodeQ8K,
	formats.IQ2_XXS - blockBase: decodeIQ2XXS, formats.IQ2_XS - blockBase: decodeIQ2XS,
	formats.IQ2_S - blockBase: decodeIQ2S, formats.IQ3_XXS - blockBase: decodeIQ3XXS,
	formats.IQ3_S - blockBase: decodeIQ3S, formats.IQ1_S - blockBase: decodeIQ1S,
	formats.IQ1_M - blockBase: decodeIQ1M, formats.IQ4_NL - blockBase: decodeIQ4NL,
	formats.IQ4_XS - blockBase: decodeIQ4XS, formats.TQ1_0 - blockBase: decodeTQ1,
	formats.TQ2_0 - blockBase: decodeTQ2, formats.MXFP4 - blockBase: decodeMXFP4,
	formats.NVFP4 - blockBase: decodeNVFP4, formats.Q1_0 - blockBase: decodeQ1_0,
	formats.Q2_0 - blockBase: decodeQ2_0,
}

// halfAt is the binary16 at the start of b.
func halfAt(b []byte) float32 { return halfToFloat(binary.LittleEndian.Uint16(b)) }

// decodeQ4_0 reads a scale and 16 bytes: low nibbles are the first half of the
// block, high nibbles the second.
func decodeQ4_0(dst []float32, src []byte) {
	for len(dst) >= 32 && len(src) >= 18 {
		levels16((*[32]float32)(dst), (*[16]byte)(src[2:]), halfAt(src), &offset8)
		dst, src = dst[32:], src[18:]
	}
}

// levels16 scales the levels that 32 nibbles choose: the low nibbles of 16 bytes,
// then the high ones.
func levels16(y *[32]float32, q *[16]byte, d float32, level *[16]float32) {
	for j := 0; j < 16; j += 4 {
		w := binary.LittleEndian.Uint32(q[j:])
		a, b := (*[4]float32)(y[j:]), (*[4]float32)(y[j+16:])
		a[0], a[1] = level[w&15]*d, level[w>>8&15]*d
		a[2], a[3] = level[w>>16&15]*d, level[w>>24&15]*d
		b[0], b[1] = level[w>>4&15]*d, level[w>>12&15]*d
		b[2], b[3] = level[w>>20&15]*d, level[w>>28]*d
	}
}

// offset8 are the values of a nibble that stands for -8 to 7.
var offset8 = [16]float32{-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7}

func decodeQ4_1(dst []float32, src []byte) {
	for len(dst) >= 32 && len(src) >= 20 {
		d, m := halfAt(src), halfAt(src[2:])
		y, q := (*[32]float32)(dst), (*[16]byte)(src[4:])
		for j, b := range q {
			y[j] = float32(tableU4[b&15]*d) + m
			y[j+16] = float32(tableU4[b>>4]*d) + m
		}
		dst, src = dst[32:], src[20:]
	}
}

// decodeQ5_0 takes the fifth bit of element j from bit j of a 32-bit word.
func decodeQ5_0(dst []float32, src []byte) {
	for len(dst) >= 32 && len(src) >= 22 {
		d := halfAt(src)
		for half := range 2 {
			y, q := (*[16]float32)(dst[16*half:]), (*[16]byte)(src[6:])
			high := uint64(binary.LittleEndian.Uint16(src[2+2*half:]))
			for j := 0; j < 16; j += 8 {
				w := binary.LittleEndian.Uint64(q[j:])>>(4*half)&fours | spreadBits(high>>j)<<4
				fiveBits8((*[8]float32)(y[j:]), w, d)
			}
		}
		dst, src = dst[32:], src[22:]
	}
}

func decodeQ5_1(dst []float32, src []byte) {
	for len(dst) >= 32 && len(src) >= 24 {
		d, m := halfAt(src), halfAt(src[2:])
		for half := range 2 {
			y, q := (*[16]float32)(dst[16*half:]), (*[16]byte)(src[8:])
			high := uint64(binary.LittleEndian.Uint16(src[4+2*half:]))
			for j := 0; j < 16; j += 8 {
				w := binary.LittleEndian.Uint64(q[j:])>>(4*half)&fours | spreadBits(high>>j)<<4
				affine8((*[8]float32)(y[j:]), w, d, -m)
			}
		}
		dst, src = dst[32:], src[24:]
	}
}

// spreadBits puts the low eight bits of b into the lowest bits of eight bytes.
func spreadBits(b uint64) uint64 {
	// Copies of b, the bit of each byte cut out, and moved to the bottom by a carry
	// into the top bit.
	const bit = 0x8040201008040201
	return (b&255*ones&bit + (ones<<7 - ones)) >> 7 & ones
}

// fiveBits8 makes d*(code-16) of eight codes of five bits.
func fiveBits8(y *[8]float32, w uint64, d float32) {
	y[0], y[1] = offset16[w&31]*d, offset16[w>>8&31]*d
	y[2], y[3] = offset16[w>>16&31]*d, offset16[w>>24&31]*d
	y[4], y[5] = offset16[w>>32&31]*d, offset16[w>>40&31]*d
	y[6], y[7] = offset16[w>>48&31]*d, offset16[w>>56&31]*d
}

// offset16 are the values of five-bit codes that stand for -16 to 15.
var offset16 = [32]float32(offset32[16:48])

// decodeQ8_0 reads blocks of a scale and 32 signed bytes.
func decodeQ8_0(dst []float32, src []byte) {
	for len(dst) >= 32 && len(src) >= 34 {
		scaleBytes((*[32]float32)(dst), (*[32]byte)(src[2:]), halfAt(src))
		dst, src = dst[32:], src[34:]
	}
}

// decodeQ8_1 is Q8_0 with a checksum of the block behind the scale; it occurs as
// an intermediate of computations only.
func decodeQ8_1(dst []float32, src []byte) {
	for len(dst) >= 32 && len(src) >= 36 {
		scaleBytes((*[32]float32)(dst), (*[32]byte)(src[4:]), halfAt(src))
		dst, src = dst[32:], src[36:]
	}
}

// decodeQ8K has a full f32 scale and 32 bytes of sums behind the numbers.
func decodeQ8K(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 292 {
		d := math.Float32frombits(binary.LittleEndian.Uint32(src))
		for k := 0; k < 256; k += 32 {
			scaleBytes((*[32]float32)(dst[k:]), (*[32]byte)(src[4+k:]), d)
		}
		dst, src = dst[256:], src[292:]
	}
}

func scaleBytes(y *[32]float32, q *[32]byte, d float32) {
	scale8((*[8]float32)(y[:]), binary.LittleEndian.Uint64(q[:]), d)
	scale8((*[8]float32)(y[8:]), binary.LittleEndian.Uint64(q[8:]), d)
	scale8((*[8]float32)(y[16:]), binary.LittleEndian.Uint64(q[16:]), d)
	scale8((*[8]float32)(y[24:]), binary.LittleEndian.Uint64(q[24:]), d)
}

// decodeQ1_0 makes d of a set bit and -d of a clear one.
func decodeQ1_0(dst []float32, src []byte) {
	for len(dst) >= 128 && len(src) >= 18 {
		d := halfAt(src)
		sign := [2]float32{-d, d}
		for k, b := range (*[16]byte)(src[2:]) {
			y := (*[8]float32)(dst[8*k:])
			y[0], y[1], y[2], y[3] = sign[b&1], sign[b>>1&1], sign[b>>2&1], sign[b>>3&1]
			y[4], y[5], y[6], y[7] = sign[b>>4&1], sign[b>>5&1], sign[b>>6&1], sign[b>>7]
		}
		dst, src = dst[128:], src[18:]
	}
}

// decodeQ2_0 has codes 0 to 3 for -1, 0, 1 and 2.
func decodeQ2_0(dst []float32, src []byte) {
	for len(dst) >= 64 && len(src) >= 18 {
		d := halfAt(src)
		level := [4]float32{-d, 0 * d, d, 2 * d}
		for k, b := range (*[16]byte)(src[2:]) {
			y := (*[4]float32)(dst[4*k:])
			y[0], y[1], y[2], y[3] = level[b&3], level[b>>2&3], level[b>>4&3], level[b>>6]
		}
		dst, src = dst[64:], src[18:]
	}
}
