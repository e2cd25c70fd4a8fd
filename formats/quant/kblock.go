package quant

import "encoding/binary"

// The K types: super-blocks of 256 with small integer scales per 16 or 32.

// Eight codes are cut out of eight bytes at once: these masks keep the low bits
// of every byte of a word.
const (
	ones   = 0x0101010101010101
	threes = 3 * ones
	fours  = 15 * ones // nibbles
)

func decodeQ2K(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 84 {
		scales, qs := (*[16]byte)(src), (*[64]byte)(src[16:])
		d, dmin := halfAt(src[80:]), halfAt(src[82:])
		for k := range 16 { // 16 elements each; four pairs share 32 bytes
			sc := scales[k]
			dl, ml := d*tableU4[sc&15], dmin*tableU4[sc>>4]
			level := [4]float32{0*dl - ml, dl - ml, float32(2*dl) - ml, float32(3*dl) - ml}
			q, shift := (*[16]byte)(qs[k/8*32+k%2*16:]), k/2%4*2
			y := (*[16]float32)(dst[16*k:])
			pick4((*[8]float32)(y[:]), binary.LittleEndian.Uint64(q[:])>>shift&threes, &level)
			pick4((*[8]float32)(y[8:]), binary.LittleEndian.Uint64(q[8:])>>shift&threes, &level)
		}
		dst, src = dst[256:], src[84:]
	}
}

// pick4 writes the levels that the bytes of w choose.
func pick4(y *[8]float32, w uint64, level *[4]float32) {
	y[0], y[1], y[2], y[3] = level[w&3], level[w>>8&3], level[w>>16&3], level[w>>24&3]
	y[4], y[5], y[6], y[7] = level[w>>32&3], level[w>>40&3], level[w>>48&3], level[w>>56&3]
}

// offsetFour8 makes d*(code-4) of eight codes of three bits.
func offsetFour8(y *[8]float32, w uint64, d float32) {
	y[0], y[1], y[2], y[3] = d*offset4[w&7], d*offset4[w>>8&7], d*offset4[w>>16&7], d*offset4[w>>24&7]
	y[4], y[5], y[6], y[7] = d*offset4[w>>32&7], d*offset4[w>>40&7], d*offset4[w>>48&7], d*offset4[w>>56&7]
}

// offset4 are the values of three-bit codes that stand for -4 to 3.
var offset4 = [8]float32{-4, -3, -2, -1, 0, 1, 2, 3}

func decodeQ3K(dst []float32, src []byte) {
	for len(dst) >= 256 && len(src) >= 110 {
		high, qs := (*[32]byte)(src), (*[64]byte)(src[32:])
		scales := scalesQ3K((*[12]byte)(src[96:]))
		d := halfAt(src[108:])
		for k := range 16 {
			dl := d * float32(int(scales[k])-32)
			q, h := (*[16]byte)(qs[k/8*32+k%2*16:]), (*[16]byte)(high[k%2*16:])
			y, shift, bit := (*[16]float32)(dst[16*k:]), k/2%4*2, k/2
			for j := 0; j < 16; j += 8 {
				w := binary.LittleEndian.Uint64(q[j:])>>shift&threes | binary.LittleEndian.Uint64(h[j:])>>bit&ones<<2
				offsetFour8((*[8]float32)(y[j:]), w, dl)
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

// affine8 makes d*code - m of eight codes of at most five bits.
func affine8(y *[8]float32, w uint64, d, m float32) {
	y[0], y[1] = float32(d*tableU5[w&31])-m, float32(d*tableU5[w>>8&31])-m
	y[2], y[3] = float32(d*tableU5[w>>16&31])-m, float32(d*tableU5[w>>24&31])-m
	y[4], y[5] = float32(d*tableU5[w>>32&31])-m, float32(d*tableU5[w>>40&31])-m
	y[6], y[7] = float32(d*tableU5[w>>48&31])-m, float32(d*tableU5[w>>56&31])-m
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
			for j := 0; j < 32; j += 8 {
				w, h := binary.LittleEndian.Uint64(q[j:]), binary.LittleEndian.Uint64(high[j:])>>k
				affine8((*[8]float32)(y[j:]), w&fours|h&ones<<4, d1, m1)
				affine8((*[8]float32)(y[j+32:]), w>>4&fours|h>>1&ones<<4, d2, m2)
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
			for l := 0; l < 32; l += 8 {
				g := l / 16
				a, b := binary.LittleEndian.Uint64(low[l:]), binary.LittleEndian.Uint64(low[l+32:])
				h := binary.LittleEndian.Uint64(high[l:])
				scaled8((*[8]float32)(y[l:]), a&fours|h&threes<<4, s[g])
				scaled8((*[8]float32)(y[l+32:]), b&fours|h>>2&threes<<4, s[g+2])
				scaled8((*[8]float32)(y[l+64:]), a>>4&fours|h>>4&threes<<4, s[g+4])
				scaled8((*[8]float32)(y[l+96:]), b>>4&fours|h>>6&threes<<4, s[g+6])
			}
		}
		dst, src = dst[256:], src[210:]
	}
}

// scaled8 makes d*(code-32) of eight codes of six bits.
func scaled8(y *[8]float32, w uint64, d float32) {
	y[0], y[1] = d*offset32[w&63], d*offset32[w>>8&63]
	y[2], y[3] = d*offset32[w>>16&63], d*offset32[w>>24&63]
	y[4], y[5] = d*offset32[w>>32&63], d*offset32[w>>40&63]
	y[6], y[7] = d*offset32[w>>48&63], d*offset32[w>>56&63]
}

// tableU5 and offset32 are the values of five-bit codes and of six-bit codes that
// stand for -32 to 31: loads are quicker than conversions.
var (
	tableU5  = [32]float32(tableU8[:32])
	offset32 = func() (t [64]float32) {
		for i := range t {
			t[i] = float32(i - 32)
		}
		return t
	}()
)

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
