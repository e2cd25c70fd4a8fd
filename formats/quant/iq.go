package quant

import (
	"encoding/binary"
	"math/bits"
)

// signed8 writes a code of eight levels, scaled, the elements whose bit in signs
// is set negated.
func signed8(y *[8]float32, grid *[8]float32, d float32, signs uint32) {
	sign := &signsOf[signs&255]
	y[0], y[1] = d*grid[0]*sign[0], d*grid[1]*sign[1]
	y[2], y[3] = d*grid[2]*sign[2], d*grid[3]*sign[3]
	y[4], y[5] = d*grid[4]*sign[4], d*grid[5]*sign[5]
	y[6], y[7] = d*grid[6]*sign[6], d*grid[7]*sign[7]
}

// signed4 is signed8 for two codes of four levels each.
func signed4(y *[8]float32, a, b *[4]float32, d float32, signs uint32) {
	sign := &signsOf[signs&255]
	y[0], y[1] = d*a[0]*sign[0], d*a[1]*sign[1]
	y[2], y[3] = d*a[2]*sign[2], d*a[3]*sign[3]
	y[4], y[5] = d*b[0]*sign[4], d*b[1]*sign[5]
	y[6], y[7] = d*b[2]*sign[6], d*b[3]*sign[7]
}

// signsOf are 1 and -1 for the bits of a byte.
var signsOf = func() (t [256][8]float32) {
	for i := range t {
		for j := range t[i] {
			t[i][j] = float32(1 - 2*(i>>j&1))
		}
	}
	return t
}()

// evenSigns completes seven sign bits by the eighth that makes their number even.
func evenSigns(seven uint32) uint32 {
	seven &= 127
	return seven | uint32(bits.OnesCount32(seven)&1)<<7
}

func decodeIQ2XXS(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 66 {
		d := halfAt(src)
		for k := range 8 { // four codes, four times seven signs, four bits of scale
			q := (*[8]byte)(src[2+8*k:])
			word := binary.LittleEndian.Uint32(q[4:])
			db := d * (0.5 + float32(word>>28)) * 0.25
			for l := range 4 {
				signed8((*[8]float32)(dst[32*k+8*l:]), &gridIQ2XXS[q[l]], db, evenSigns(word>>(7*l)))
			}
		}
		dst, src = dst[256:], src[66:]
	}
}

func decodeIQ2XS(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 74 {
		d := halfAt(src)
		scales := (*[8]byte)(src[66:])
		for k := range 32 { // nine bits of code, seven signs
			code := uint32(binary.LittleEndian.Uint16(src[2+2*k:]))
			db := d * (0.5 + float32(scales[k/4]>>(k/2%2*4)&15)) * 0.25
			signed8((*[8]float32)(dst[8*k:]), &gridIQ2XS[code&511], db, evenSigns(code>>9))
		}
		dst, src = dst[256:], src[74:]
	}
}

func decodeIQ2S(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 82 {
		d := halfAt(src)
		low, signs := (*[32]byte)(src[2:]), (*[32]byte)(src[34:])
		high, scales := (*[8]byte)(src[66:]), (*[8]byte)(src[74:])
		for k := range 32 {
			code := uint32(low[k]) | uint32(high[k/4]>>(k%4*2)&3)<<8
			db := d * (0.5 + float32(scales[k/4]>>(k/2%2*4)&15)) * 0.25
			signed8((*[8]float32)(dst[8*k:]), &gridIQ2S[code], db, uint32(signs[k]))
		}
		dst, src = dst[256:], src[82:]
	}
}

func decodeIQ3XXS(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 98 {
		d := halfAt(src)
		for k := range 8 {
			q := (*[8]byte)(src[2+8*k:])
			word := binary.LittleEndian.Uint32(src[66+4*k:])
			db := d * (0.5 + float32(word>>28)) * 0.5
			for l := range 4 {
				signed4((*[8]float32)(dst[32*k+8*l:]), &gridIQ3XXS[q[2*l]], &gridIQ3XXS[q[2*l+1]], db, evenSigns(word>>(7*l)))
			}
		}
		dst, src = dst[256:], src[98:]
	}
}

func decodeIQ3S(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 110 {
		d := halfAt(src)
		low, high := (*[64]byte)(src[2:]), (*[8]byte)(src[66:])
		signs, scales := (*[32]byte)(src[74:]), (*[4]byte)(src[106:])
		for k := range 32 {
			h := uint32(high[k/4]) >> (k % 4 * 2)
			a, b := uint32(low[2*k])|h&1<<8, uint32(low[2*k+1])|h>>1&1<<8
			db := d * float32(1+2*int(scales[k/8]>>(k/4%2*4)&15))
			signed4((*[8]float32)(dst[8*k:]), &gridIQ3S[a], &gridIQ3S[b], db, uint32(signs[k]))
		}
		dst, src = dst[256:], src[110:]
	}
}

// deltaIQ1 moves all levels of a group away from -1, 0 and 1.
const deltaIQ1 = 0.125

func shifted8(y *[8]float32, grid *[8]float32, d float32, negative bool) {
	delta := float32(deltaIQ1)
	if negative {
		delta = -deltaIQ1
	}
	y[0], y[1], y[2], y[3] = d*(grid[0]+delta), d*(grid[1]+delta), d*(grid[2]+delta), d*(grid[3]+delta)
	y[4], y[5], y[6], y[7] = d*(grid[4]+delta), d*(grid[5]+delta), d*(grid[6]+delta), d*(grid[7]+delta)
}

func decodeIQ1S(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 50 {
		d, low := halfAt(src), (*[32]byte)(src[2:])
		for k := range 8 {
			h := binary.LittleEndian.Uint16(src[34+2*k:])
			dl := d * float32(2*(h>>12&7)+1)
			for l := range 4 {
				code := uint16(low[4*k+l]) | h>>(3*l)&7<<8
				shifted8((*[8]float32)(dst[32*k+8*l:]), &gridIQ1[code], dl, h&0x8000 != 0)
			}
		}
		dst, src = dst[256:], src[50:]
	}
}

// decodeIQ1M spreads its f16 scale over the top nibbles of four words of scales.
func decodeIQ1M(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 56 {
		low, high := (*[32]byte)(src), (*[16]byte)(src[32:])
		s := binary.LittleEndian.Uint64(src[48:])
		d := halfToFloat(uint16(s>>12&0x000f | s>>24&0x00f0 | s>>36&0x0f00 | s>>48&0xf000))
		for k := range 32 {
			h := high[k/2] >> (k % 2 * 4)
			scale := s >> (k/8*16 + k/2%4*3) & 7 // one for two codes
			code := uint16(low[k]) | uint16(h&7)<<8
			shifted8((*[8]float32)(dst[8*k:]), &gridIQ1[code], d*float32(2*scale+1), h&8 != 0)
		}
		dst, src = dst[256:], src[56:]
	}
}
