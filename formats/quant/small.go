package quant

import (
	"encoding/binary"
	"math"
)

// Tables of all values of types of at most eight bits, indexed by code. Sources:
// the OCP 8-bit Floating Point and Microscaling Formats specifications (E4M3,
// E5M2, E8M0, E2M3, E3M2, E2M1), and the FNUZ types as ONNX documents them.
var (
	tableE4M3  = table8(4, 3, 7, func(code uint8) bool { return code&0x7f == 0x7f })
	tableE5M2  = table8(5, 2, 15, func(code uint8) bool { return code&0x7f > 0x7c })
	tableE4M3Z = table8(4, 3, 8, func(code uint8) bool { return code == 0x80 })
	tableE5M2Z = table8(5, 2, 16, func(code uint8) bool { return code == 0x80 })
	tableE8M0  = powersOfTwo()
	tableE2M3  = table6(2, 3, 1)
	tableE3M2  = table6(3, 2, 3)
	tableE2M1  = [16]float32{0, 0.5, 1, 1.5, 2, 3, 4, 6, float32(math.Copysign(0, -1)), -0.5, -1, -1.5, -2, -3, -4, -6}
	tableI4    = [16]float32{0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1}
	tableU4    = [16]float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	tableU8    = allBytes()
	tableI2    = [4]float32{0, 1, -2, -1}
	tableU2    = [4]float32{0, 1, 2, 3}
)

// smallFloat is the value of a float of 1 + exponent + mantissa bits that has no
// codes for infinity and NaN.
func smallFloat(code uint8, exponentBits, mantissaBits, bias int) float32 {
	mantissa := float64(code & (1<<mantissaBits - 1))
	exponent := int(code>>mantissaBits) & (1<<exponentBits - 1)
	one := float64(int(1) << mantissaBits)
	v := math.Ldexp(mantissa/one, 1-bias)
	if exponent > 0 {
		v = math.Ldexp(1+mantissa/one, exponent-bias)
	}
	if code>>(exponentBits+mantissaBits)&1 == 1 {
		v = math.Copysign(v, -1)
	}
	return float32(v)
}

func table8(exponentBits, mantissaBits, bias int, nan func(uint8) bool) [256]float32 {
	var t [256]float32
	for i := range t {
		code := uint8(i)
		switch {
		case nan(code):
			t[i] = float32(math.NaN())
		case bias == 15 && code&0x7f == 0x7c: // E5M2 alone has infinities
			t[i] = float32(math.Inf(1 - 2*int(code>>7)))
		default:
			t[i] = smallFloat(code, exponentBits, mantissaBits, bias)
		}
	}
	return t
}

func table6(exponentBits, mantissaBits, bias int) [64]float32 {
	var t [64]float32
	for i := range t {
		t[i] = smallFloat(uint8(i), exponentBits, mantissaBits, bias)
	}
	return t
}

func powersOfTwo() [256]float32 {
	var t [256]float32
	for i := range t {
		t[i] = float32(math.Ldexp(1, i-127))
	}
	t[255] = float32(math.NaN())
	return t
}

func allBytes() (t [256]float32) {
	for i := range t {
		t[i] = float32(i)
	}
	return t
}

func decodeTable8(dst []float32, src []byte, table *[256]float32) {
	for len(dst) >= 8 && len(src) >= 8 {
		y, w := (*[8]float32)(dst), binary.LittleEndian.Uint64(src)
		y[0], y[1], y[2], y[3] = table[byte(w)], table[byte(w>>8)], table[byte(w>>16)], table[byte(w>>24)]
		y[4], y[5], y[6], y[7] = table[byte(w>>32)], table[byte(w>>40)], table[byte(w>>48)], table[byte(w>>56)]
		dst, src = dst[8:], src[8:]
	}
	for i := range dst {
		dst[i] = table[src[i]]
	}
}

// decodeTable6 reads six bits an element, low bits first: four elements in three
// bytes.
func decodeTable6(dst []float32, src []byte, table *[64]float32) {
	for len(dst) >= 4 && len(src) >= 3 {
		w := uint32(src[0]) | uint32(src[1])<<8 | uint32(src[2])<<16
		dst[0], dst[1] = table[w&63], table[w>>6&63]
		dst[2], dst[3] = table[w>>12&63], table[w>>18&63]
		dst, src = dst[4:], src[3:]
	}
	var w uint32
	for i, b := range src {
		w |= uint32(b) << (8 * i & 31)
	}
	for i := range dst {
		dst[i] = table[w>>(6*i&31)&63]
	}
}

// decodeTable4 reads the low nibble of a byte first.
func decodeTable4(dst []float32, src []byte, table *[16]float32) {
	for len(dst) >= 8 && len(src) >= 4 {
		y, w := (*[8]float32)(dst), binary.LittleEndian.Uint32(src)
		y[0], y[1], y[2], y[3] = table[w&15], table[w>>4&15], table[w>>8&15], table[w>>12&15]
		y[4], y[5], y[6], y[7] = table[w>>16&15], table[w>>20&15], table[w>>24&15], table[w>>28]
		dst, src = dst[8:], src[4:]
	}
	for i := range dst {
		dst[i] = table[src[i/2]>>(i%2*4)&15]
	}
}

// decodeTable2 reads the low two bits of a byte first.
func decodeTable2(dst []float32, src []byte, table *[4]float32) {
	for len(dst) >= 4 && len(src) >= 1 {
		b := src[0]
		dst[0], dst[1], dst[2], dst[3] = table[b&3], table[b>>2&3], table[b>>4&3], table[b>>6]
		dst, src = dst[4:], src[1:]
	}
	for i := range dst {
		dst[i] = table[src[0]>>(2*i&7)&3]
	}
}
