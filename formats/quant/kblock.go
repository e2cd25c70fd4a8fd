package quant

import "encoding/binary"

// The K types: super-blocks of 256 with small integer scales per 16 or 32.

func decodeQ2K(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 84 {
		scales, qs := (*[16]byte)(src), (*[64]byte)(src[16:])
		d, dmin := halfAt(src[80:]), halfAt(src[82:])
		for k := range 16 { // 16 elements each; four pairs share 32 bytes
			sc := scales[k]
			dl, ml := d*tableU4[sc&15], dmin*tableU4[sc>>4]
			q := (*[16]byte)(qs[k/8*32+k%2*16:])
			level := [4]float32{0*dl - ml, dl - ml, float32(2*dl) - ml, float32(3*dl) - ml}
			y := (*[16]float32)(dst[16*k:])
			shift := k / 2 % 4 * 2
			for j, b := range q {
				y[j] = level[b>>shift&3]
			}
		}
		dst, src = dst[256:], src[84:]
	}
}

func decodeQ3K(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 110 {
		high, qs := (*[32]byte)(src), (*[64]byte)(src[32:])
		scales := scalesQ3K((*[12]byte)(src[96:]))
		d := halfAt(src[108:])
		for k := range 16 {
			dl := d * float32(int(scales[k])-32)
			level := [8]float32{-4 * dl, -3 * dl, -2 * dl, -dl, 0 * dl, dl, 2 * dl, 3 * dl}
			q, h := (*[16]byte)(qs[k/8*32+k%2*16:]), (*[16]byte)(high[k%2*16:])
			y := (*[16]float32)(dst[16*k:])
			shift, bit := k/2%4*2, k/2
			for j, b := range q {
				y[j] = level[b>>shift&3|h[j]>>bit&1<<2]
			}
		}
		dst, src = dst[256:], src[110:]
	}
}

// scalesQ3K unpacks sixteen 6-bit scales: low nibbles in eight bytes, the upper
// two bits in the last four.
func scalesQ3K(p *[12]byte) [16]byte {
	var s [16]byte
	for i := range s {
		low := p[i%8] >> (i / 8 * 4) & 15
		s[i] = low | p[8+i%4]>>(i/4*2)&3<<4
	}
	return s
}

// scalesK4 unpacks eight 6-bit scales and eight 6-bit minima.
func scalesK4(p *[12]byte) (scale, minimum [8]byte) {
	for i := range 4 {
		scale[i], minimum[i] = p[i]&63, p[i+4]&63
		scale[i+4] = p[i+8]&15 | p[i]>>6<<4
		minimum[i+4] = p[i+8]>>4 | p[i+4]>>6<<4
	}
	return scale, minimum
}

func decodeQ4K(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 144 {
		d, dmin := halfAt(src), halfAt(src[2:])
		scale, minimum := scalesK4((*[12]byte)(src[4:]))
		for k := 0; k < 8; k += 2 { // two times 32 elements share 32 bytes
			d1, m1 := d*float32(scale[k]), dmin*float32(minimum[k])
			d2, m2 := d*float32(scale[k+1]), dmin*float32(minimum[k+1])
			y, q := (*[64]float32)(dst[32*k:]), (*[32]byte)(src[16+16*k:])
			for j, b := range q {
				y[j] = float32(d1*tableU4[b&15]) - m1
				y[j+32] = float32(d2*tableU4[b>>4]) - m2
			}
		}
		dst, src = dst[256:], src[144:]
	}
}

func decodeQ5K(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 176 {
		d, dmin := halfAt(src), halfAt(src[2:])
		scale, minimum := scalesK4((*[12]byte)(src[4:]))
		high := (*[32]byte)(src[16:])
		for k := 0; k < 8; k += 2 {
			d1, m1 := d*float32(scale[k]), dmin*float32(minimum[k])
			d2, m2 := d*float32(scale[k+1]), dmin*float32(minimum[k+1])
			y, q := (*[64]float32)(dst[32*k:]), (*[32]byte)(src[48+16*k:])
			for j, b := range q {
				h := high[j] >> (k & 7)
				y[j] = float32(d1*float32(int32(b&15|h&1<<4))) - m1
				y[j+32] = float32(d2*float32(int32(b>>4|h&2<<3))) - m2
			}
		}
		dst, src = dst[256:], src[176:]
	}
}

func decodeQ6K(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 210 {
		d := halfAt(src[208:])
		for half := range 2 {
			low, high := (*[64]byte)(src[64*half:]), (*[32]byte)(src[128+32*half:])
			var s [8]float32
			for i := range s {
				s[i] = d * float32(int8(src[192+8*half+i]))
			}
			y := (*[128]float32)(dst[128*half:])
			for l := range 32 {
				a, b, h, g := low[l], low[l+32], high[l], l/16
				y[l] = s[g] * float32(int32(a&15|h&3<<4)-32)
				y[l+32] = s[g+2] * float32(int32(b&15|h>>2&3<<4)-32)
				y[l+64] = s[g+4] * float32(int32(a>>4|h>>4&3<<4)-32)
				y[l+96] = s[g+6] * float32(int32(b>>4|h>>6<<4)-32)
			}
		}
		dst, src = dst[256:], src[210:]
	}
}

// decodeIQ4NL is Q4_0 with a table of levels that is not linear.
func decodeIQ4NL(dst []float32, src []byte) {
	for len(dst) >= 32 && len(src) >= 18 {
		levels16((*[32]float32)(dst), (*[16]byte)(src[2:]), halfAt(src), &levelsIQ4)
		dst, src = dst[32:], src[18:]
	}
}

func decodeIQ4XS(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 136 {
		d, high, low := halfAt(src), binary.LittleEndian.Uint16(src[2:]), binary.LittleEndian.Uint32(src[4:])
		for k := range 8 {
			scale := int(low>>(4*k)&15 | uint32(high>>(2*k)&3)<<4)
			levels16((*[32]float32)(dst[32*k:]), (*[16]byte)(src[8+16*k:]), d*float32(scale-32), &levelsIQ4)
		}
		dst, src = dst[256:], src[136:]
	}
}

// levelsIQ4 is kvalues_iq4nl of ggml-common.h.
var levelsIQ4 = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
