package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The types whose codes are put together a byte each before they are widened.

// blocks starts a kernel of a block type.
func blocks(name, what string) {
	TEXT(name, NOSPLIT, "func(dst *float32, src *byte, blocks int)")
	Pragma("noescape")
	Doc(name + " decodes ggml " + what + " blocks.")
}

// floats widens 8 unsigned bytes at m to float32.
func floats(m Op) VecVirtual {
	v := YMM()
	VPMOVZXBD(m, v)
	VCVTDQ2PS(v, v)
	return v
}

// signedFloats widens 8 signed bytes at m to float32.
func signedFloats(m Op) VecVirtual {
	v := YMM()
	VPMOVSXBD(m, v)
	VCVTDQ2PS(v, v)
	return v
}

// moveBit puts bit from of every byte of v into bit to of t; what lands beside it is for a mask to take away.
func moveBit(v VecVirtual, from, to int, t VecVirtual) {
	switch {
	case from < to:
		VPSLLW(Imm(uint64(to-from)), v, t)
	case from > to:
		VPSRLW(Imm(uint64(from-to)), v, t)
	default:
		VMOVDQU(v, t)
	}
}

// affine writes codes*scale - minimum for 8 codes at m.
func affine(m Op, scale, minimum VecVirtual, to Mem) {
	v := floats(m)
	VMULPS(v, scale, v)
	VSUBPS(minimum, v, v)
	VMOVUPS(v, to)
}

// lane broadcasts float number i of m.
func lane(m Mem, i int) VecVirtual {
	v := YMM()
	VBROADCASTSS(m.Offset(4*i), v)
	return v
}

func decodeQ5K() {
	nibble, fifth := same("q5kNibble", 0x0f0f0f0f), same("q5kFifth", 0x10101010)
	blocks("decodeQ5KAVX2", "Q5_K")
	scratch := AllocLocal(64 + 32)
	loop("blocks", func(dst, src Register) {
		scales, minima := unpackScales(src)
		for i, packed := range []Register{scales, minima} {
			x := XMM()
			VMOVQ(packed, x)
			v := floats(x)
			VMULPS(v, half(Mem{Base: src, Disp: 2 * i}), v)
			VMOVUPS(v, scratch.Offset(32*i))
		}
		high := YMM()
		VMOVDQU(Mem{Base: src, Disp: 16}, high)
		for g := range 8 {
			q, t := YMM(), YMM()
			VMOVDQU(Mem{Base: src, Disp: 48 + 32*(g/2)}, q)
			if g%2 == 1 {
				VPSRLW(Imm(4), q, q)
			}
			VPAND(nibble, q, q)
			moveBit(high, g, 4, t)
			VPAND(fifth, t, t)
			VPOR(t, q, q)
			VMOVDQU(q, scratch.Offset(64))
			scale, minimum := lane(scratch, g), lane(scratch, 8+g)
			for i := range 4 {
				affine(scratch.Offset(64+8*i), scale, minimum, Mem{Base: dst, Disp: 128*g + 32*i})
			}
		}
	}, 1024, 176)
}

func decodeQ2K() {
	pair, nibble := same("q2kPair", 0x03030303), same("q2kNibble", 0x0f0f0f0f)
	blocks("decodeQ2KAVX2", "Q2_K")
	scratch := AllocLocal(128 + 32) // 16 scales, 16 minima, 32 codes
	loop("blocks", func(dst, src Register) {
		scales, minima := XMM(), XMM()
		VMOVDQU(Mem{Base: src}, scales)
		VPSRLW(Imm(4), scales, minima)
		VPAND(nibble, scales, scales)
		VPAND(nibble, minima, minima)
		for i, packed := range []VecVirtual{scales, minima} {
			d := half(Mem{Base: src, Disp: 80 + 2*i})
			for part := range 2 {
				if part == 1 {
					VPSRLDQ(Imm(8), packed, packed)
				}
				v := floats(packed)
				VMULPS(v, d, v)
				VMOVUPS(v, scratch.Offset(64*i+32*part))
			}
		}
		for g := range 8 { // 32 codes: half g/4 of the bytes, bits 2*(g%4)
			q := YMM()
			VMOVDQU(Mem{Base: src, Disp: 16 + 32*(g/4)}, q)
			if g%4 > 0 {
				VPSRLW(Imm(uint64(2*(g%4))), q, q)
			}
			VPAND(pair, q, q)
			VMOVDQU(q, scratch.Offset(128))
			for k := range 2 {
				scale, minimum := lane(scratch, 2*g+k), lane(scratch, 16+2*g+k)
				for i := range 2 {
					affine(scratch.Offset(128+16*k+8*i), scale, minimum, Mem{Base: dst, Disp: 128*g + 64*k + 32*i})
				}
			}
		}
	}, 1024, 84)
}

// unpackScalesQ3 turns the 12 bytes at src+96 of a Q3_K block into 16 scales of 6 bits, one byte each.
func unpackScalesQ3(src Register) [2]Register {
	low, fifteen, three, top := GP64(), GP64(), GP32(), GP32()
	MOVQ(Mem{Base: src, Disp: 96}, low)
	MOVL(Mem{Base: src, Disp: 104}, top)
	MOVQ(U64(0x0f0f0f0f0f0f0f0f), fifteen)
	MOVL(U32(0x03030303), three)
	var out [2]Register
	for i := range out {
		nibbles, t := GP64(), GP64()
		MOVQ(low, nibbles)
		if i == 1 {
			SHRQ(Imm(4), nibbles)
		}
		ANDQ(fifteen, nibbles)
		for k := range 2 {
			MOVL(top, t.As32())
			if shift := 4*i + 2*k; shift > 0 {
				SHRL(Imm(uint64(shift)), t.As32())
			}
			ANDL(three, t.As32())
			SHLQ(Imm(uint64(4+32*k)), t)
			ORQ(t, nibbles)
		}
		out[i] = nibbles
	}
	return out
}

func decodeQ3K() {
	pair, third, four := same("q3kPair", 0x03030303), same("q3kThird", 0x04040404), same("q3kFour", 0x04040404)
	bias := same("q3kBias", 32)
	blocks("decodeQ3KAVX2", "Q3_K")
	scratch := AllocLocal(64 + 32) // 16 scales, 32 codes
	loop("blocks", func(dst, src Register) {
		d := half(Mem{Base: src, Disp: 108})
		for i, packed := range unpackScalesQ3(src) {
			x, v := XMM(), YMM()
			VMOVQ(packed, x)
			VPMOVZXBD(x, v)
			VPSUBD(bias, v, v)
			VCVTDQ2PS(v, v)
			VMULPS(v, d, v)
			VMOVUPS(v, scratch.Offset(32*i))
		}
		high := YMM()
		VMOVDQU(Mem{Base: src}, high)
		for g := range 8 {
			q, t := YMM(), YMM()
			VMOVDQU(Mem{Base: src, Disp: 32 + 32*(g/4)}, q)
			if g%4 > 0 {
				VPSRLW(Imm(uint64(2*(g%4))), q, q)
			}
			VPAND(pair, q, q)
			moveBit(high, g, 2, t)
			VPAND(third, t, t)
			VPOR(t, q, q)
			VPSUBB(four, q, q)
			VMOVDQU(q, scratch.Offset(64))
			for i := range 4 {
				v := signedFloats(scratch.Offset(64 + 8*i))
				VMULPS(v, lane(scratch, 2*g+i/2), v)
				VMOVUPS(v, Mem{Base: dst, Disp: 128*g + 32*i})
			}
		}
	}, 1024, 110)
}

// table16 returns 16 bytes of read-only data.
func table16(name string, levels [16]int8) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i, l := range levels {
		DATA(i, U8(uint8(l)))
	}
	return m
}

// levels writes scale * levels[nibble] of the 16 bytes at from: low nibbles, then high ones.
func levels(table, nibble, from Mem, scale VecVirtual, dst Register, at int) {
	low, high, chosen := XMM(), XMM(), XMM()
	VMOVDQU(from, low)
	VPSRLW(Imm(4), low, high)
	for part, q := range []VecVirtual{low, high} {
		VPAND(nibble, q, q)
		VMOVDQU(table, chosen)
		VPSHUFB(q, chosen, q)
		for i := range 2 {
			if i == 1 {
				VPSRLDQ(Imm(8), q, q)
			}
			v := signedFloats(q)
			VMULPS(v, scale, v)
			VMOVUPS(v, Mem{Base: dst, Disp: at + 64*part + 32*i})
		}
	}
}

func decodeIQ4() {
	// kvalues_iq4nl of ggml-common.h
	table := table16("iq4Levels", [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113})
	nibble := same("iq4Nibble", 0x0f0f0f0f)
	blocks("decodeIQ4NLAVX2", "IQ4_NL")
	loop("blocks", func(dst, src Register) {
		levels(table, nibble, Mem{Base: src, Disp: 2}, half(Mem{Base: src}), dst, 0)
	}, 128, 18)

	eachDword := func(name string, step uint32) Mem {
		m := GLOBL(name, RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, U32(step*uint32(i)))
		}
		return m
	}
	byFour, byTwo := eachDword("iq4ByFour", 4), eachDword("iq4ByTwo", 2)
	fifteen, three, bias := same("iq4Fifteen", 15), same("iq4Three", 3), same("iq4Bias", 32)
	blocks("decodeIQ4XSAVX2", "IQ4_XS")
	scratch := AllocLocal(32)
	loop("blocks", func(dst, src Register) {
		low, high := YMM(), YMM()
		VPBROADCASTD(Mem{Base: src, Disp: 4}, low)
		VPSRLVD(byFour, low, low)
		VPAND(fifteen, low, low)
		VPBROADCASTD(Mem{Base: src, Disp: 2}, high) // of which the lower 16 bits are used
		VPSRLVD(byTwo, high, high)
		VPAND(three, high, high)
		VPSLLD(Imm(4), high, high)
		VPOR(high, low, low)
		VPSUBD(bias, low, low)
		VCVTDQ2PS(low, low)
		VMULPS(low, half(Mem{Base: src}), low)
		VMOVUPS(low, scratch)
		for k := range 8 {
			levels(table, nibble, Mem{Base: src, Disp: 8 + 16*k}, lane(scratch, k), dst, 128*k)
		}
	}, 1024, 136)
}

func decodeMXFP4() {
	// The values of E2M1 doubled; scales are halved in return, as in ggml.
	table := table16("fp4Levels", [16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12})
	nibble := same("fp4Nibble", 0x0f0f0f0f)
	blocks("decodeMXFP4AVX2", "MXFP4")
	loop("blocks", func(dst, src Register) {
		code, bits, x, scale := GP32(), GP32(), XMM(), YMM()
		MOVBLZX(Mem{Base: src}, code)
		LEAL(Mem{Base: code.As64(), Disp: 1}, bits)
		SHLL(Imm(21), bits) // 2^-128 and 2^-127, which are subnormal
		CMPL(code, Imm(2))
		JCS(LabelRef("scaled"))
		LEAL(Mem{Base: code.As64(), Disp: -1}, bits)
		SHLL(Imm(23), bits)
		Label("scaled")
		VMOVD(bits, x)
		VPBROADCASTD(x, scale)
		levels(table, nibble, Mem{Base: src, Disp: 1}, scale, dst, 0)
	}, 128, 17)
}
