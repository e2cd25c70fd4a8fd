// Command decode writes the kernels that widen packed weights to float32: for AVX2, and those that matter most for
// AVX-512 too.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!purego")
	widen("widenF16AVX2", "IEEE binary16", 2, func(src Mem, v VecVirtual) { VCVTPH2PS(src, v) })
	widen("widenBF16AVX2", "bfloat16", 2, func(src Mem, v VecVirtual) {
		VPMOVZXWD(src, v)
		VPSLLD(Imm(16), v, v)
	})
	widen("widenI8AVX2", "signed byte", 1, func(src Mem, v VecVirtual) {
		VPMOVSXBD(src, v)
		VCVTDQ2PS(v, v)
	})
	widenF8()
	decodeQ8_0()
	decodeQ4_0()
	decodeQ4K()
	decodeQ6K()
	decodeQ5K()
	decodeQ3K()
	decodeQ2K()
	decodeIQ4()
	decodeMXFP4()
	wideBF16()
	wideQ4K()
	Generate()
}

// same returns 32 bytes of one dword.
func same(name string, word uint32) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(word))
	}
	return m
}

// loop runs body n times, n being a parameter of the function, and moves the pointers on after each.
func loop(count string, body func(dst, src Register), dstStep, srcStep int) {
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param(count), GP64())
	Label("loop")
	TESTQ(n, n)
	JLE(LabelRef("done"))
	body(dst, src)
	ADDQ(U32(dstStep), dst)
	ADDQ(U32(srcStep), src)
	DECQ(n)
	JMP(LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()
}

// widen writes a kernel for a type whose values are converted 8 at a time by load.
func widen(name, what string, size int, load func(src Mem, v VecVirtual)) {
	TEXT(name, NOSPLIT, "func(dst *float32, src *byte, groups int)")
	Pragma("noescape")
	Doc(name + " decodes groups of 32 " + what + " values.")
	loop("groups", func(dst, src Register) {
		for i := range 4 {
			v := YMM()
			load(Mem{Base: src, Disp: 8 * size * i}, v)
			VMOVUPS(v, Mem{Base: dst, Disp: 32 * i})
		}
	}, 128, 32*size)
}

// widenF8 writes the kernels of the 8-bit floats, both by way of binary16.
func widenF8() {
	widen("widenF8E5M2AVX2", "OCP E5M2", 1, func(src Mem, v VecVirtual) {
		h := XMM()
		VPMOVZXBW(src, h)
		VPSLLW(Imm(8), h, h)
		VCVTPH2PS(h, v)
	})
	magnitude, sign := same("f8Magnitude", 0x3f803f80), same("f8Sign", 0x80008000)
	scale, quiet := same("f8Scale", 0x43800000), same("f8Quiet", 0x7fc00000)
	largest := same("f8Largest", 0x43f00000) // 480, what the code of a NaN comes to
	clear := same("f8Clear", 0x7fffffff)
	widen("widenF8E4M3AVX2", "OCP E4M3", 1, func(src Mem, v VecVirtual) {
		h, s, nan := XMM(), XMM(), YMM()
		VPMOVZXBW(src, h)
		VPSLLW(Imm(8), h, s)
		VPSLLW(Imm(7), h, h)
		VPAND(magnitude, h, h)
		VPAND(sign, s, s)
		VPOR(s, h, h)
		VCVTPH2PS(h, v)
		VMULPS(scale, v, v)
		VANDPS(clear, v, nan)
		VPCMPEQD(largest, nan, nan)
		VPAND(quiet, nan, nan)
		VORPS(nan, v, v)
	})
}

// half loads a binary16 into all lanes.
func half(m Mem) VecVirtual {
	x, y := XMM(), YMM()
	VPBROADCASTW(m, x)
	VCVTPH2PS(x, y)
	return y
}

func decodeQ8_0() {
	TEXT("decodeQ8_0AVX2", NOSPLIT, "func(dst *float32, src *byte, blocks int)")
	Pragma("noescape")
	Doc("decodeQ8_0AVX2 decodes ggml Q8_0 blocks.")
	loop("blocks", func(dst, src Register) {
		d := half(Mem{Base: src})
		for i := range 4 {
			v := YMM()
			VPMOVSXBD(Mem{Base: src, Disp: 2 + 8*i}, v)
			VCVTDQ2PS(v, v)
			VMULPS(v, d, v)
			VMOVUPS(v, Mem{Base: dst, Disp: 32 * i})
		}
	}, 128, 34)
}

func decodeQ4_0() {
	fifteen, eight := same("q4Fifteen", 15), same("q4Eight", 8)
	TEXT("decodeQ4_0AVX2", NOSPLIT, "func(dst *float32, src *byte, blocks int)")
	Pragma("noescape")
	Doc("decodeQ4_0AVX2 decodes ggml Q4_0 blocks.")
	loop("blocks", func(dst, src Register) {
		d := half(Mem{Base: src})
		for i := range 2 {
			low, high := YMM(), YMM()
			VPMOVZXBD(Mem{Base: src, Disp: 2 + 8*i}, low)
			VPSRLD(Imm(4), low, high)
			VPAND(fifteen, low, low)
			for part, v := range []VecVirtual{low, high} {
				VPSUBD(eight, v, v)
				VCVTDQ2PS(v, v)
				VMULPS(v, d, v)
				VMOVUPS(v, Mem{Base: dst, Disp: 64*part + 32*i})
			}
		}
	}, 128, 18)
}

// unpackScales turns the 12 bytes at src+4 of a Q4_K block into 8 scales and 8 minima, one byte each, in two registers.
func unpackScales(src Register) (scales, minima Register) {
	w0, w1, w2, t := GP32(), GP32(), GP32(), GP32()
	MOVL(Mem{Base: src, Disp: 4}, w0)
	MOVL(Mem{Base: src, Disp: 8}, w1)
	MOVL(Mem{Base: src, Disp: 12}, w2)
	upper := func(low, packed GPVirtual, shift uint64) GPVirtual {
		high := GP32()
		MOVL(packed, high)
		if shift > 0 {
			SHRL(Imm(shift), high)
		}
		ANDL(U32(0x0f0f0f0f), high)
		MOVL(low, t)
		SHRL(Imm(2), t)
		ANDL(U32(0x30303030), t)
		ORL(t, high)
		return high
	}
	s, m := upper(w0, w2, 0), upper(w1, w2, 4)
	ANDL(U32(0x3f3f3f3f), w0)
	ANDL(U32(0x3f3f3f3f), w1)
	SHLQ(Imm(32), s.As64())
	SHLQ(Imm(32), m.As64())
	ORQ(w0.As64(), s.As64())
	ORQ(w1.As64(), m.As64())
	return s.As64(), m.As64()
}

func decodeQ4K() {
	fifteen := same("q4kFifteen", 15)
	TEXT("decodeQ4KAVX2", NOSPLIT, "func(dst *float32, src *byte, blocks int)")
	Pragma("noescape")
	Doc("decodeQ4KAVX2 decodes ggml Q4_K blocks.")
	scratch := AllocLocal(64)
	loop("blocks", func(dst, src Register) {
		scales, minima := unpackScales(src)
		for i, packed := range []Register{scales, minima} {
			x, v := XMM(), YMM()
			VMOVQ(packed, x)
			VPMOVZXBD(x, v)
			VCVTDQ2PS(v, v)
			VMULPS(v, half(Mem{Base: src, Disp: 2 * i}), v)
			VMOVUPS(v, scratch.Offset(32*i))
		}
		for pair := range 4 {
			var scale, minimum [2]VecVirtual
			for g := range 2 {
				scale[g], minimum[g] = YMM(), YMM()
				VBROADCASTSS(scratch.Offset(4*(2*pair+g)), scale[g])
				VBROADCASTSS(scratch.Offset(32+4*(2*pair+g)), minimum[g])
			}
			for i := range 4 {
				low, high := YMM(), YMM()
				VPMOVZXBD(Mem{Base: src, Disp: 16 + 32*pair + 8*i}, low)
				VPSRLD(Imm(4), low, high)
				VPAND(fifteen, low, low)
				for g, v := range []VecVirtual{low, high} {
					VCVTDQ2PS(v, v)
					VMULPS(v, scale[g], v)
					VSUBPS(minimum[g], v, v)
					VMOVUPS(v, Mem{Base: dst, Disp: 256*pair + 128*g + 32*i})
				}
			}
		}
	}, 1024, 144)
}

func decodeQ6K() {
	nibble, pair, bias := same("q6kNibble", 0x0f0f0f0f), same("q6kPair", 0x30303030), same("q6kBias", 0x20202020)
	TEXT("decodeQ6KAVX2", NOSPLIT, "func(dst *float32, src *byte, blocks int)")
	Pragma("noescape")
	Doc("decodeQ6KAVX2 decodes ggml Q6_K blocks.")
	scratch := AllocLocal(64 + 128)
	loop("blocks", func(dst, src Register) {
		d := half(Mem{Base: src, Disp: 208})
		for i := range 2 {
			v := YMM()
			VPMOVSXBD(Mem{Base: src, Disp: 192 + 8*i}, v)
			VCVTDQ2PS(v, v)
			VMULPS(v, d, v)
			VMOVUPS(v, scratch.Offset(32*i))
		}
		for h := range 2 {
			unpackQ6(src, h, scratch.Offset(64), nibble, pair, bias)
			for i := range 16 {
				v, scale := YMM(), YMM()
				VPMOVSXBD(scratch.Offset(64+8*i), v)
				VCVTDQ2PS(v, v)
				VBROADCASTSS(scratch.Offset(4*(8*h+i/2)), scale)
				VMULPS(v, scale, v)
				VMOVUPS(v, Mem{Base: dst, Disp: 512*h + 32*i})
			}
		}
	}, 1024, 210)
}

// unpackQ6 puts the 128 quants of half h of a Q6_K block into scratch, as signed bytes.
func unpackQ6(src Register, h int, scratch, nibble, pair, bias Mem) {
	high := YMM()
	VMOVDQU(Mem{Base: src, Disp: 128 + 32*h}, high)
	for k := range 4 { // values 32k to 32k+31: low nibbles of both 32-byte halves, then high nibbles
		q, t := YMM(), YMM()
		VMOVDQU(Mem{Base: src, Disp: 64*h + 32*(k%2)}, q)
		if k >= 2 {
			VPSRLW(Imm(4), q, q)
		}
		VPAND(nibble, q, q)
		switch k {
		case 0:
			VPSLLW(Imm(4), high, t)
		case 1:
			VPSLLW(Imm(2), high, t)
		case 2:
			VMOVDQU(high, t)
		case 3:
			VPSRLW(Imm(2), high, t)
		}
		VPAND(pair, t, t)
		VPOR(t, q, q)
		VPSUBB(bias, q, q)
		VMOVDQU(q, scratch.Offset(32*k))
	}
}
