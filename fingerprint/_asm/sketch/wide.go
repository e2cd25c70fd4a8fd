package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// wideAccumulate adds 64 columns a turn to 4 registers of buckets.
func wideAccumulate(k constant) {
	TEXT("accumulateClippedAVX512", NOSPLIT, "func(acc, row *float32, signs *uint32, groups, step int, mean, limit float32)")
	Pragma("noescape")
	Doc("accumulateClippedAVX512 is accumulateClippedAVX2 by wider registers.")
	acc, row := Load(Param("acc"), GP64()), Load(Param("row"), GP64())
	signs, groups := Load(Param("signs"), GP64()), Load(Param("groups"), GP64())
	rowStep, signStep := Load(Param("step"), GP64()), GP64()
	MOVQ(rowStep, signStep)
	SHLQ(Imm(3), signStep) // two words of signs
	SHLQ(Imm(8), rowStep)  // 64 floats
	mean, high, low, signBit := ZMM(), ZMM(), ZMM(), ZMM()
	broadcastTo("mean", mean)
	broadcastTo("limit", high)
	VPBROADCASTD(k.signBit, signBit)
	VPXORD(high, signBit, low)
	var sum [4]VecVirtual
	for i := range sum {
		sum[i] = ZMM()
		VMOVUPS(Mem{Base: acc, Disp: 64 * i}, sum[i])
	}
	mask := K()

	Label("loop")
	TESTQ(groups, groups)
	JLE(LabelRef("done"))
	for i := range sum {
		v := ZMM()
		VMOVUPS(Mem{Base: row, Disp: 64 * i}, v)
		VSUBPS(mean, v, v)
		VMINPS(v, high, v) // a NaN in v comes out again: x86 returns the last operand
		VMAXPS(v, low, v)
		KMOVW(Mem{Base: signs, Disp: 2 * i}, mask)
		VPXORD(signBit, v, mask, v)
		VADDPS(v, sum[i], sum[i])
	}
	ADDQ(rowStep, row)
	ADDQ(signStep, signs)
	DECQ(groups)
	JMP(LabelRef("loop"))

	Label("done")
	for i := range sum {
		VMOVUPS(sum[i], Mem{Base: acc, Disp: 64 * i})
	}
	VZEROUPPER()
	RET()
}

// wideStats keeps the 32 lanes of sums and of sums of squares of stats in 4 registers.
func wideStats() {
	TEXT("statsAVX512", NOSPLIT, "func(lanes, row *float32, groups int)")
	Pragma("noescape")
	Doc("statsAVX512 is statsAVX2 by wider registers.")
	lanes, row, groups := Load(Param("lanes"), GP64()), Load(Param("row"), GP64()), Load(Param("groups"), GP64())
	var part [4]VecVirtual
	for i := range part {
		part[i] = ZMM()
		VMOVUPS(Mem{Base: lanes, Disp: 64 * i}, part[i])
	}

	Label("loop")
	TESTQ(groups, groups)
	JLE(LabelRef("done"))
	for i := range 2 {
		v, t := ZMM(), ZMM()
		VMOVUPS(Mem{Base: row, Disp: 64 * i}, v)
		VADDPS(v, part[i], part[i])
		VMULPS(v, v, t)
		VADDPS(t, part[2+i], part[2+i])
	}
	ADDQ(Imm(128), row)
	DECQ(groups)
	JMP(LabelRef("loop"))

	Label("done")
	for i := range part {
		VMOVUPS(part[i], Mem{Base: lanes, Disp: 64 * i})
	}
	VZEROUPPER()
	RET()
}
