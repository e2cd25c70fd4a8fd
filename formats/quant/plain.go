package quant

import (
	"encoding/binary"
	"math"
)

func decodeF64(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
	}
}

func decodeF32(dst []float32, src []byte) {
	for len(dst) >= 4 && len(src) >= 16 {
		dst[0] = math.Float32frombits(binary.LittleEndian.Uint32(src))
		dst[1] = math.Float32frombits(binary.LittleEndian.Uint32(src[4:]))
		dst[2] = math.Float32frombits(binary.LittleEndian.Uint32(src[8:]))
		dst[3] = math.Float32frombits(binary.LittleEndian.Uint32(src[12:]))
		dst, src = dst[4:], src[16:]
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

// decodeF16 widens IEEE binary16, four at a time. Numbers other than normal ones
// are rare in weights and take the long way.
func decodeF16(dst []float32, src []byte) {
	for len(dst) >= 4 && len(src) >= 8 {
		w := binary.LittleEndian.Uint64(src)
		y := (*[4]float32)(dst)
		if halfNormal(w) {
			// Two lanes of 32 bits each take every second number.
			even, odd := w&0x0000ffff0000ffff, w>>16&0x0000ffff0000ffff
			even = even<<16&lanesSign | even<<13&lanesRest + lanesBias
			odd = odd<<16&lanesSign | odd<<13&lanesRest + lanesBias
			y[0], y[1] = math.Float32frombits(uint32(even)), math.Float32frombits(uint32(odd))
			y[2], y[3] = math.Float32frombits(uint32(even>>32)), math.Float32frombits(uint32(odd>>32))
		} else {
			y[0], y[1] = halfToFloat(uint16(w)), halfToFloat(uint16(w>>16))
			y[2], y[3] = halfToFloat(uint16(w>>32)), halfToFloat(uint16(w>>48))
		}
		dst, src = dst[4:], src[8:]
	}
	for i := range dst {
		dst[i] = halfToFloat(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

// halfNormal reports whether four binary16 in a word are all normal numbers:
// adding one to the exponent must not reach the sign bit (infinity and NaN), and
// taking one must not borrow from it (zero and subnormals).
func halfNormal(w uint64) bool {
	const signs, one = 0x8000800080008000, 0x0400040004000400
	x := w &^ signs
	return (x+one)&signs == 0 && ((x|signs)-one)&signs == signs
}

// Masks of two f32 in a word: their signs, what a binary16 fills of the rest, and
// the difference of the exponents' biases.
const (
	lanesSign = 0x8000000080000000
	lanesRest = 0x0fffe0000fffe000
	lanesBias = 112<<23 | 112<<55
)

// halfToFloat widens any binary16.
func halfToFloat(h uint16) float32 {
	sign, x := uint32(h&0x8000)<<16, uint32(h&0x7fff)
	if x-0x400 < 0x7c00-0x400 {
		return math.Float32frombits(sign | (x<<13 + 112<<23))
	}
	return halfSpecial(sign, x)
}

// halfSpecial widens zeros, subnormals, infinities and NaN. NaN comes out quiet
// with its payload, as the conversion instructions of processors do it.
func halfSpecial(sign, x uint32) float32 {
	switch {
	case x > 0x7c00:
		return math.Float32frombits(sign | 0x7fc00000 | x<<13)
	case x == 0x7c00:
		return math.Float32frombits(sign | 0x7f800000)
	}
	f := float32(x) * 0x1p-24
	return math.Float32frombits(sign | math.Float32bits(f))
}

// decodeBF16 widens bfloat16, which is the upper half of an f32.
func decodeBF16(dst []float32, src []byte) {
	for len(dst) >= 4 && len(src) >= 8 {
		w := binary.LittleEndian.Uint64(src)
		dst[0] = math.Float32frombits(uint32(w) << 16)
		dst[1] = math.Float32frombits(uint32(w) & 0xffff0000)
		dst[2] = math.Float32frombits(uint32(w>>32) << 16)
		dst[3] = math.Float32frombits(uint32(w>>32) & 0xffff0000)
		dst, src = dst[4:], src[8:]
	}
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
	}
}

func decodeI64(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(int64(binary.LittleEndian.Uint64(src[8*i:])))
	}
}

func decodeU64(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(binary.LittleEndian.Uint64(src[8*i:]))
	}
}

func decodeI32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(int32(binary.LittleEndian.Uint32(src[4*i:])))
	}
}

func decodeU32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func decodeI16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(int16(binary.LittleEndian.Uint16(src[2*i:])))
	}
}

func decodeU16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

func decodeI8(dst []float32, src []byte) {
	for len(dst) >= 8 && len(src) >= 8 {
		scale8((*[8]float32)(dst), binary.LittleEndian.Uint64(src), 1)
		dst, src = dst[8:], src[8:]
	}
	for i := range dst {
		dst[i] = float32(int8(src[i]))
	}
}

// scale8 multiplies eight signed bytes.
func scale8(y *[8]float32, w uint64, d float32) {
	y[0], y[1] = float32(int8(w))*d, float32(int8(w>>8))*d
	y[2], y[3] = float32(int8(w>>16))*d, float32(int8(w>>24))*d
	y[4], y[5] = float32(int8(w>>32))*d, float32(int8(w>>40))*d
	y[6], y[7] = float32(int8(w>>48))*d, float32(int8(w>>56))*d
}

func decodeU8(dst []float32, src []byte) { decodeTable8(dst, src, &tableU8) }

// decodeBool makes 1 of every byte that is not zero, as the frameworks do.
func decodeBool(dst []float32, src []byte) {
	src = src[:len(dst)]
	for i, b := range src {
		dst[i] = 0
		if b != 0 {
			dst[i] = 1
		}
	}
}
