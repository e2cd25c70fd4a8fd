package quant

import (
	"encoding/binary"
	"math"
)

// decodeTQ1 reads base-3 digits: a byte b holds five of them as the fraction
// b/256, and multiplying by three moves the next one out at the top.
func decodeTQ1(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 54 {
		d := halfAt(src[52:])
		digitsTQ1(dst[:160], src[:32], d)
		digitsTQ1(dst[160:240], src[32:48], d)
		digitsTQ1(dst[240:256], src[48:52], d)
		dst, src = dst[256:], src[54:]
	}
}

// digitsTQ1 writes the first digits of all bytes of src, then all second ones,
// until dst is full.
func digitsTQ1(dst []float32, src []byte, d float32) {
	level := [4]float32{-d, 0 * d, d}
	for n := 0; len(dst) >= len(src) && n < len(digitsOf); n++ {
		digit, y := &digitsOf[n], dst[:len(src)]
		for j, b := range src {
			y[j] = level[digit[b]&3]
		}
		dst = dst[len(src):]
	}
}

// digitsOf are the five digits of every byte.
var digitsOf = func() (t [5][256]uint8) {
	for b := range 256 {
		for n, power := 0, byte(1); n < 5; n, power = n+1, power*3 {
			t[n][b] = uint8(uint16(byte(b)*power) * 3 >> 8)
		}
	}
	return t
}()

// decodeTQ2 has two bits an element, four groups of 32 elements in 32 bytes.
func decodeTQ2(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 66 {
		d := halfAt(src[64:])
		level := [4]float32{-d, 0 * d, d, 2 * d}
		for k := range 8 {
			y, q, shift := (*[32]float32)(dst[32*k:]), (*[32]byte)(src[k/4*32:]), k%4*2
			for j := 0; j < 32; j += 8 {
				pick4((*[8]float32)(y[j:]), binary.LittleEndian.Uint64(q[j:])>>shift&threes, &level)
			}
		}
		dst, src = dst[256:], src[66:]
	}
}

// levelsFP4 are the values of E2M1 doubled, with no negative zero, as ggml has
// them; its scales are halved in return.
var levelsFP4 = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

// decodeMXFP4 reads ggml's blocks: an E8M0 scale and 16 bytes, low nibbles first
// for the first half.
func decodeMXFP4(dst []float32, src []byte) {
	for len(dst) >= 32 && len(src) >= 17 {
		levels16((*[32]float32)(dst), (*[16]byte)(src[1:]), halvedE8M0(src[0]), &levelsFP4)
		dst, src = dst[32:], src[17:]
	}
}

// halvedE8M0 is 2^(code-128). Code 255, NaN in the standard, is a large number
// here as it is in ggml.
func halvedE8M0(code byte) float32 {
	if code < 2 {
		return math.Float32frombits(0x00200000 << code)
	}
	return math.Float32frombits(uint32(code-1) << 23)
}

// decodeNVFP4 reads four sub-blocks of 16 elements, each with an unsigned E4M3
// scale. The per-tensor scale of the NVFP4 scheme lies in another tensor.
func decodeNVFP4(dst []float32, src []byte) {
	for len(dst) >= 64 && len(src) >= 36 {
		for s, code := range (*[4]byte)(src) {
			d := scalesUE4M3[code]
			y, w := (*[16]float32)(dst[16*s:]), binary.LittleEndian.Uint64(src[4+8*s:])
			nibbles8((*[8]float32)(y[:]), w, d)
			nibbles8((*[8]float32)(y[8:]), w>>4, d)
		}
		dst, src = dst[64:], src[36:]
	}
}

// nibbles8 scales the FP4 levels of the low nibbles of eight bytes.
func nibbles8(y *[8]float32, w uint64, d float32) {
	y[0], y[1], y[2], y[3] = levelsFP4[w&15]*d, levelsFP4[w>>8&15]*d, levelsFP4[w>>16&15]*d, levelsFP4[w>>24&15]*d
	y[4], y[5], y[6], y[7] = levelsFP4[w>>32&15]*d, levelsFP4[w>>40&15]*d, levelsFP4[w>>48&15]*d, levelsFP4[w>>56&15]*d
}

// scalesUE4M3 are the halved values of unsigned E4M3. The sign bit is ignored and
// the NaN code 0x7f is 0, as in ggml; 0xff, with the sign bit set, is 480 there.
var scalesUE4M3 = func() (t [256]float32) {
	for i := range t {
		t[i] = smallFloat(uint8(i)&0x7f, 4, 3, 7) * 0.5
	}
	t[0x7f] = 0
	return t
}()
