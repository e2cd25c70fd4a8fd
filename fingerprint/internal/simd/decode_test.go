package simd

import (
	"encoding/binary"
	"math"
	"testing"
)

var widenings = map[string]widening{
	"F32": widenF32, "F16": widenF16, "BF16": widenBF16, "I8": widenI8, "F8_E4M3": widenF8E4M3, "F8_E5M2": widenF8E5M2,
}

var blocks = map[string]block{"Q8_0": blockQ8_0, "Q4_0": blockQ4_0, "Q4_K": blockQ4_K, "Q6_K": blockQ6_K, "Q5_K": blockQ5_K,
	"Q3_K": blockQ3_K, "Q2_K": blockQ2_K, "IQ4_NL": blockIQ4_NL, "IQ4_XS": blockIQ4_XS, "MXFP4": blockMXFP4}

func TestWiden(t *testing.T) {
	for name, w := range widenings {
		t.Run(name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				s := newSource()
				for n := range maxLength {
					src := s.bytes(n * w.size())
					want, got := make([]float32, n), s.floats(n, false)
					widenPure(want, src, w, 0)
					if k := p.widen(got, src, w); k != n {
						t.Fatalf("%d values: %d decoded", n, k)
					}
					if i := sameBits(got, want); i >= 0 {
						t.Fatalf("%d values: value %d is %g, want %g", n, i, got[i], want[i])
					}
				}
				if k := p.widen(make([]float32, 100), make([]byte, 50*w.size()), w); k != 50 {
					t.Errorf("short source: %d values decoded, want 50", k)
				}
				if k := p.widen(make([]float32, 50), make([]byte, 100*w.size()), w); k != 50 {
					t.Errorf("short destination: %d values decoded, want 50", k)
				}
			})
		})
	}
}

// TestWidenEveryCode decodes all codes of the types of one or two bytes; a NaN keeps its sign and is quiet.
func TestWidenEveryCode(t *testing.T) {
	for name, w := range widenings {
		if w == widenF32 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				src := make([]byte, 1<<16*w.size())
				for i := range 1 << 16 {
					if src[w.size()*i] = byte(i); w.size() == 2 {
						src[2*i+1] = byte(i >> 8)
					}
				}
				want, got := make([]float32, 1<<16), make([]float32, 1<<16)
				widenPure(want, src, w, 0)
				p.widen(got, src, w)
				for i := range want {
					if g, w := math.Float32bits(got[i]), math.Float32bits(want[i]); g != w && (got[i] == got[i] || g>>22 != w>>22) {
						t.Fatalf("code %#x is %#x, want %#x", i, g, w)
					}
				}
			})
		})
	}
}

// TestFloat16 holds the conversion against values worked out from the definition in IEEE 754.
func TestFloat16(t *testing.T) {
	for h := range 1 << 16 {
		exponent, fraction := h>>10&31, float64(h&1023)
		want := math.Ldexp(1024+fraction, exponent-25)
		switch {
		case exponent == 0:
			want = math.Ldexp(fraction, -24)
		case exponent == 31 && fraction == 0:
			want = math.Inf(1)
		case exponent == 31:
			want = math.NaN()
		}
		if h>>15 == 1 {
			want = -want
		}
		got := float64(float16(uint16(h)))
		if got != want && (got == got || want == want) || math.Signbit(got) != (h>>15 == 1) {
			t.Fatalf("float16(%#x) = %g, want %g", h, got, want)
		}
	}
}

func TestFloat8E4M3(t *testing.T) {
	for b := range 256 {
		exponent, fraction := b>>3&15, float64(b&7)
		want := math.Ldexp(8+fraction, exponent-10)
		switch {
		case exponent == 0:
			want = math.Ldexp(fraction, -9)
		case b&0x7f == 0x7f:
			want = math.NaN()
		}
		if b>>7 == 1 {
			want = -want
		}
		got := float64(float8E4M3(byte(b)))
		if got != want && (got == got || want == want) || math.Signbit(got) != (b>>7 == 1) {
			t.Fatalf("float8E4M3(%#x) = %g, want %g", b, got, want)
		}
	}
}

func TestDecodeBlocks(t *testing.T) {
	for name, b := range blocks {
		t.Run(name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				s := newSource()
				values, size := b.shape()
				for n := range 200 {
					src := s.bytes(n*size + n%size)
					want, got := make([]float32, n*values), s.floats(n*values+n%values, false)
					decodeBlocksPure(want, src, b)
					if k := p.decodeBlocks(got, src, b); k != n*values {
						t.Fatalf("%d blocks: %d values decoded", n, k)
					}
					if i := sameBits(got[:len(want)], want); i >= 0 {
						t.Fatalf("%d blocks: value %d is %g, want %g", n, i, got[i], want[i])
					}
				}
				if k := p.decodeBlocks(make([]float32, 3*values-1), make([]byte, 9*size), b); k != 2*values {
					t.Errorf("short destination: %d values decoded, want %d", k, 2*values)
				}
			})
		})
	}
}

// TestDecodeBlocksByDefinition sets every field of a block to a value of its own and works the weights out by hand.
func TestDecodeBlocksByDefinition(t *testing.T) {
	half := func(b []byte, h uint16) { binary.LittleEndian.PutUint16(b, h) }
	const one, two = 0x3c00, 0x4000
	q4k := make([]byte, 144)
	half(q4k, one)
	half(q4k[2:], two)
	q4k[4], q4k[8] = 3|2<<6, 5|1<<6 // group 0: scale 3, minimum 5; upper bits of group 4: scale 2, minimum 1
	q4k[12] = 7 | 9<<4              // group 4: scale 7+2*16, minimum 9+1*16
	q4k[16], q4k[16+64] = 0x0b, 0x0c
	q6k := make([]byte, 210)
	half(q6k[208:], two)
	q6k[192+2], q6k[192+8] = 5, 0xff // groups 2 and 8: scales 5 and -1
	q6k[32], q6k[128] = 9, 1<<2      // value 32: low 9, high bits 1
	q6k[64], q6k[160] = 4, 3         // value 128: low 4, high bits 3
	q8 := make([]byte, 34)
	half(q8, two)
	q8[2], q8[33] = 0x80, 7
	q4 := make([]byte, 18)
	half(q4, two)
	q4[2] = 0xf1
	for _, c := range []struct {
		b    block
		data []byte
		want map[int]float32
	}{
		{blockQ4_K, q4k, map[int]float32{0: 3*11 - 2*5, 1: -2 * 5, 128: 39*12 - 2*25, 129: -2 * 25}},
		{blockQ6_K, q6k, map[int]float32{32: 2 * 5 * (9 + 16 - 32), 33: 2 * 5 * -32, 128: 2 * -1 * (4 + 48 - 32), 255: 0}},
		{blockQ8_0, q8, map[int]float32{0: -256, 1: 0, 31: 14}},
		{blockQ4_0, q4, map[int]float32{0: -14, 16: 14, 1: -16}},
	} {
		values, _ := c.b.shape()
		dst := make([]float32, values)
		decodeBlocksPure(dst, c.data, c.b)
		for i, want := range c.want {
			if dst[i] != want {
				t.Errorf("block type %d: value %d is %g, want %g", c.b, i, dst[i], want)
			}
		}
	}
}
