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
	blockQ5_K
	blockQ3_K
	blockQ2_K
	blockIQ4_NL
	blockIQ4_XS
	blockMXFP4
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
	case blockQ5_K:
		return 256, 176
	case blockQ3_K:
		return 256, 110
	case blockQ2_K:
		return 256, 84
	case blockIQ4_NL:
		return 32, 18
	case blockIQ4_XS:
		return 256, 136
	case blockMXFP4:
		return 32, 17
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
		case blockQ5_K:
			decodeQ5_K(dst[:256], src[:176])
		case blockQ3_K:
			decodeQ3_K(dst[:256], src[:110])
		case blockQ2_K:
			decodeQ2_K(dst[:256], src[:84])
		case blockIQ4_NL:
			decodeLevels(dst[:32], src[2:18], float16(binary.LittleEndian.Uint16(src)), &levelsIQ4)
		case blockIQ4_XS:
			decodeIQ4_XS(dst[:256], src[:136])
		case blockMXFP4:
			decodeLevels(dst[:32], src[1:17], halvedE8M0(src[0]), &levelsFP4)
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

func decodeQ5_K(dst []float32, src []byte) {
	d := float16(binary.LittleEndian.Uint16(src))
	dmin := float16(binary.LittleEndian.Uint16(src[2:]))
	high := src[16:48]
	for g := range 8 {
		scale, minimum := scaleMin(src[4:16], g)
		ds, dm := d*float32(scale), dmin*float32(minimum)
		shift := 4 * (g & 1)
		for i, q := range src[48+g/2*32:][:32] {
			code := q>>shift&15 | high[i]>>g&1<<4
			dst[32*g+i] = float32(ds*float32(code)) - dm
		}
	}
}

func decodeQ3_K(dst []float32, src []byte) {
	high, packed := src[:32], src[96:108]
	d := float16(binary.LittleEndian.Uint16(src[108:]))
	for k := range 16 { // 16 values each; 8 pairs take bit after bit of the high bytes
		scale := packed[k%8]>>(4*(k/8))&15 | packed[8+k%4]>>(2*(k/4))&3<<4
		ds := d * float32(int(scale)-32)
		for i, q := range src[32+k/8*32+k%2*16:][:16] {
			code := q>>(2*(k/2%4))&3 | high[k%2*16+i]>>(k/2)&1<<2
			dst[16*k+i] = ds * float32(int(code)-4)
		}
	}
}

func decodeQ2_K(dst []float32, src []byte) {
	d := float16(binary.LittleEndian.Uint16(src[80:]))
	dmin := float16(binary.LittleEndian.Uint16(src[82:]))
	for k, scale := range src[:16] {
		ds, dm := d*float32(scale&15), dmin*float32(scale>>4)
		for i, q := range src[16+k/8*32+k%2*16:][:16] {
			dst[16*k+i] = float32(ds*float32(q>>(2*(k/2%4))&3)) - dm
		}
	}
}

// Levels that nibbles choose: kvalues_iq4nl of ggml-common.h, and the values of E2M1 doubled, with no negative zero, as
// ggml has them.
var (
	levelsIQ4 = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	levelsFP4 = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}
)

// decodeLevels decodes 16 bytes: low nibbles are values 0-15, high ones 16-31.
func decodeLevels(dst []float32, src []byte, d float32, levels *[16]float32) {
	for i, q := range src[:16] {
		dst[i] = d * levels[q&15]
		dst[i+16] = d * levels[q>>4]
	}
}

func decodeIQ4_XS(dst []float32, src []byte) {
	d := float16(binary.LittleEndian.Uint16(src))
	high, low := binary.LittleEndian.Uint16(src[2:]), binary.LittleEndian.Uint32(src[4:])
	for k := range 8 {
		scale := int(low>>(4*k)&15 | uint32(high>>(2*k)&3)<<4)
		decodeLevels(dst[32*k:], src[8+16*k:], d*float32(scale-32), &levelsIQ4)
	}
}

// halvedE8M0 is 2^(code-128), for code 255 too, as in ggml.
func halvedE8M0(code byte) float32 {
	if code < 2 {
		return math.Float32frombits(uint32(code+1) << 21) // subnormal
	}
	return math.Float32frombits(uint32(code-1) << 23)
}
