package simd

import (
	"encoding/binary"
	"math"
)

// widening names a packed type that widens value by value.
type widening uint8

const (
	widenF32 widening = iota
	widenF16
	widenBF16
	widenI8
	widenF8E4M3
	widenF8E5M2
)

// size returns the bytes of one packed value.
func (w widening) size() int {
	switch w {
	case widenF32:
		return 4
	case widenF16, widenBF16:
		return 2
	default:
		return 1
	}
}

// widenPure decodes the values dst[from:].
func widenPure(dst []float32, src []byte, w widening, from int) {
	switch w {
	case widenF32:
		for i := from; i < len(dst); i++ {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case widenF16:
		for i := from; i < len(dst); i++ {
			dst[i] = float16(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case widenBF16:
		for i := from; i < len(dst); i++ {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
	case widenI8:
		for i := from; i < len(dst); i++ {
			dst[i] = float32(int8(src[i]))
		}
	case widenF8E4M3:
		for i := from; i < len(dst); i++ {
			dst[i] = float8E4M3(src[i])
		}
	case widenF8E5M2:
		for i := from; i < len(dst); i++ {
			dst[i] = float16(uint16(src[i]) << 8)
		}
	}
}

// float16 converts IEEE binary16 bits. A signalling NaN becomes quiet, as every processor's own conversion makes it.
func float16(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exponent, fraction := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch {
	case exponent == 0:
		return math.Float32frombits(math.Float32bits(float32(fraction)*0x1p-24) | sign)
	case exponent < 31:
		return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
	case fraction == 0:
		return math.Float32frombits(sign | 0x7f800000)
	default:
		return math.Float32frombits(sign | 0x7fc00000 | fraction<<13)
	}
}

// float8E4M3 converts OCP E4M3 bits: seen as a binary16 with one exponent bit less, the value is 256 times too small.
func float8E4M3(b byte) float32 {
	if b&0x7f == 0x7f {
		return math.Float32frombits(uint32(b>>7)<<31 | 0x7fc00000)
	}
	return float16(uint16(b>>7)<<15|uint16(b&0x7f)<<7) * 256
}

// block names a ggml block type. The layouts are those of ggml-quants.c and ggml-common.h of ggml.
type block uint8

const (
	blockQ8_0 block = iota
	blockQ4_0
	blockQ4_K
	blockQ6_K
)

// shape returns the values and the bytes of one block.
func (b block) shape() (values, bytes int) {
	switch b {
	case blockQ8_0:
		return 32, 34
	case blockQ4_0:
		return 32, 18
	case blockQ4_K:
		return 256, 144
	default:
		return 256, 210
	}
}

// decodeBlocksPure decodes whole blocks; len(dst) is a multiple of the block's values and src holds as many blocks.
func decodeBlocksPure(dst []float32, src []byte, b block) {
	values, size := b.shape()
	for len(dst) >= values {
		switch b {
		case blockQ8_0:
			decodeQ8_0(dst[:32], src[:34])
		case blockQ4_0:
			decodeQ4_0(dst[:32], src[:18])
		case blockQ4_K:
			decodeQ4_K(dst[:256], src[:144])
		case blockQ6_K:
			decodeQ6_K(dst[:256], src[:210])
		}
		dst, src = dst[values:], src[size:]
	}
}

func decodeQ8_0(dst []float32, src []byte) {
	d := float16(binary.LittleEndian.Uint16(src))
	for i, q := range src[2:34] {
		dst[i] = d * float32(int8(q))
	}
}

func decodeQ4_0(dst []float32, src []byte) {
	d := float16(binary.LittleEndian.Uint16(src))
	for i, q := range src[2:18] {
		dst[i] = d * float32(int(q&15)-8)
		dst[i+16] = d * float32(int(q>>4)-8)
	}
}

// scaleMin unpacks the 6-bit scale and minimum of group g of a Q4_K block's 12 bytes.
func scaleMin(packed []byte, g int) (scale, minimum byte) {
	if g < 4 {
		return packed[g] & 63, packed[g+4] & 63
	}
	return packed[g+4]&15 | packed[g-4]>>6<<4, packed[g+4]>>4 | packed[g]>>6<<4
}

func decodeQ4_K(dst []float32, src []byte) {
	d := float16(binary.LittleEndian.Uint16(src))
	dmin := float16(binary.LittleEndian.Uint16(src[2:]))
	for g := range 8 {
		scale, minimum := scaleMin(src[4:16], g)
		ds, dm := d*float32(scale), dmin*float32(minimum)
		shift := 4 * (g & 1)
		for i, q := range src[16+g/2*32:][:32] {
			dst[32*g+i] = float32(ds*float32(q>>shift&15)) - dm
		}
	}
}

func decodeQ6_K(dst []float32, src []byte) {
	low, high, scales := src[:128], src[128:192], src[192:208]
	d := float16(binary.LittleEndian.Uint16(src[208:]))
	for i := range dst[:256] {
		half, k := i/128, i%128 // 128 values share 64 low bytes and 32 high bytes
		q := low[64*half+k%64] >> (4 * (k / 64)) & 15
		q |= high[32*half+k%32] >> (2 * (k / 32)) & 3 << 4
		dst[i] = d * float32(int8(scales[i/16])) * float32(int(q)-32)
	}
}
