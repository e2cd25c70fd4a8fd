package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// wideBF16 widens 32 values by two registers.
func wideBF16() {
	TEXT("widenBF16AVX512", NOSPLIT, "func(dst *float32, src *byte, groups int)")
	Pragma("noescape")
	Doc("widenBF16AVX512 is widenBF16AVX2 by wider registers.")
	loop("groups", func(dst, src Register) {
		for i := range 2 {
			v := ZMM()
			VPMOVZXWD(Mem{Base: src, Disp: 32 * i}, v)
			VPSLLD(Imm(16), v, v)
			VMOVUPS(v, Mem{Base: dst, Disp: 64 * i})
		}
	}, 128, 64)
}

// wideQ4K looks values up: 32 of them share scale and minimum, so that their 16 results are worked out once, by the same
// two operations as everywhere, and a nibble picks one. The permutation looks at the low four bits alone, so the upper
// nibble need not be masked away.
func wideQ4K() {
	counted := GLOBL("q4kCodes", RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, F32(float32(i)))
	}
	TEXT("decodeQ4KAVX512", NOSPLIT, "func(dst *float32, src *byte, blocks int)")
	Pragma("noescape")
	Doc("decodeQ4KAVX512 is decodeQ4KAVX2 by tables of the 16 values of a sub-block.")
	scratch := AllocLocal(64)
	codes := ZMM()
	VMOVUPS(counted, codes)
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
			var values [2]VecVirtual
			for g := range values {
				values[g] = ZMM()
				minimum := ZMM()
				VBROADCASTSS(scratch.Offset(4*(2*pair+g)), values[g])
				VBROADCASTSS(scratch.Offset(32+4*(2*pair+g)), minimum)
				VMULPS(codes, values[g], values[g])
				VSUBPS(minimum, values[g], values[g])
			}
			for i := range 2 {
				low, high := ZMM(), ZMM()
				VPMOVZXBD(Mem{Base: src, Disp: 16 + 32*pair + 16*i}, low)
				VPSRLD(Imm(4), low, high)
				for g, v := range []VecVirtual{low, high} {
					VPERMPS(values[g], v, v)
					VMOVUPS(v, Mem{Base: dst, Disp: 256*pair + 128*g + 64*i})
				}
			}
		}
	}, 1024, 144)
}
