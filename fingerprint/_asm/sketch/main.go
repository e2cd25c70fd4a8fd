// Command sketch writes the kernels of the row sketch, the row statistics and the column sums for AVX2, and the
// first two for AVX-512 too.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!purego")
	k := constants()
	accumulate(k, false)
	accumulate(k, true)
	stats()
	addScaled()
	squares()
	wideAccumulate(k)
	wideStats()
	Generate()
}

// constant addresses 32 bytes of read-only data.
type constant struct {
	signBit Mem
	shift   [4]Mem // shift[g] moves bit 8g+lane of a word into the sign bit
}

func constants() constant {
	var k constant
	fill := func(name string, lane func(i int) uint32) Mem {
		m := GLOBL(name, RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, U32(lane(i)))
		}
		return m
	}
	k.signBit = fill("signBit", func(int) uint32 { return 1 << 31 })
	for g, name := range []string{"shift0", "shift1", "shift2", "shift3"} {
		k.shift[g] = fill(name, func(i int) uint32 { return uint32(31 - 8*g - i) })
	}
	return k
}

// accumulate adds 64 columns a turn to 8 registers of buckets.
func accumulate(k constant, clipped bool) {
	if clipped {
		TEXT("accumulateClippedAVX2", NOSPLIT, "func(acc, row *float32, signs *uint32, groups, step int, mean, limit float32)")
		Pragma("noescape")
		Doc("accumulateClippedAVX2 is accumulateAVX2 over values from which mean is taken and that are clipped at +-limit.")
	} else {
		TEXT("accumulateAVX2", NOSPLIT, "func(acc, row *float32, signs *uint32, groups, step int)")
		Pragma("noescape")
		Doc("accumulateAVX2 adds groups of 64 columns, step 64-column groups apart, to 64 buckets.")
	}
	acc, row := Load(Param("acc"), GP64()), Load(Param("row"), GP64())
	signs, groups := Load(Param("signs"), GP64()), Load(Param("groups"), GP64())
	rowStep, signStep := Load(Param("step"), GP64()), GP64()
	MOVQ(rowStep, signStep)
	SHLQ(Imm(3), signStep) // two words of signs
	SHLQ(Imm(8), rowStep)  // 64 floats
	signBit := YMM()
	VMOVDQU(k.signBit, signBit)
	var mean, high, low VecVirtual
	if clipped {
		mean, high, low = broadcast("mean"), broadcast("limit"), YMM()
		VXORPS(high, signBit, low)
	}
	var sum [8]VecVirtual
	for i := range sum {
		sum[i] = YMM()
		VMOVUPS(Mem{Base: acc, Disp: 32 * i}, sum[i])
	}

	Label("loop")
	TESTQ(groups, groups)
	JLE(LabelRef("done"))
	for word := range 2 {
		bits := YMM()
		VPBROADCASTD(Mem{Base: signs, Disp: 4 * word}, bits)
		for g := range 4 {
			i := 4*word + g
			sign := YMM()
			VPSLLVD(k.shift[g], bits, sign)
			VPAND(sign, signBit, sign)
			at := Mem{Base: row, Disp: 32 * i}
			if clipped {
				v := YMM()
				VMOVUPS(at, v)
				VSUBPS(mean, v, v)
				VMINPS(v, high, v) // a NaN in v comes out again: x86 returns the last operand
				VMAXPS(v, low, v)
				VXORPS(sign, v, sign)
			} else {
				VXORPS(at, sign, sign)
			}
			VADDPS(sign, sum[i], sum[i])
		}
	}
	ADDQ(rowStep, row)
	ADDQ(signStep, signs)
	DECQ(groups)
	JMP(LabelRef("loop"))

	Label("done")
	for i := range sum {
		VMOVUPS(sum[i], Mem{Base: acc, Disp: 32 * i})
	}
	VZEROUPPER()
	RET()
}

func broadcast(param string) VecVirtual {
	r := YMM()
	broadcastTo(param, r)
	return r
}

// broadcastTo puts a parameter into every lane of a register.
func broadcastTo(param string, r VecVirtual) {
	p, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(p.Addr, r)
}

// stats keeps 32 lanes of sums and of sums of squares in 8 registers.
func stats() {
	TEXT("statsAVX2", NOSPLIT, "func(lanes, row *float32, groups int)")
	Pragma("noescape")
	Doc("statsAVX2 adds groups of 32 values to 32 sums and 32 sums of squares.")
	lanes, row, groups := Load(Param("lanes"), GP64()), Load(Param("row"), GP64()), Load(Param("groups"), GP64())
	var part [8]VecVirtual
	for i := range part {
		part[i] = YMM()
		VMOVUPS(Mem{Base: lanes, Disp: 32 * i}, part[i])
	}

	Label("loop")
	TESTQ(groups, groups)
	JLE(LabelRef("done"))
	for i := range 4 {
		v, t := YMM(), YMM()
		VMOVUPS(Mem{Base: row, Disp: 32 * i}, v)
		VADDPS(v, part[i], part[i])
		VMULPS(v, v, t)
		VADDPS(t, part[4+i], part[4+i])
	}
	ADDQ(Imm(128), row)
	DECQ(groups)
	JMP(LabelRef("loop"))

	Label("done")
	for i := range part {
		VMOVUPS(part[i], Mem{Base: lanes, Disp: 32 * i})
	}
	VZEROUPPER()
	RET()
}

func addScaled() {
	TEXT("addScaledAVX2", NOSPLIT, "func(cols, row *float32, groups int, flip uint32)")
	Pragma("noescape")
	Doc("addScaledAVX2 adds groups of 32 values, their bits turned by flip, to column sums.")
	cols, row, groups := Load(Param("cols"), GP64()), Load(Param("row"), GP64()), Load(Param("groups"), GP64())
	flip := broadcast("flip")

	Label("loop")
	TESTQ(groups, groups)
	JLE(LabelRef("done"))
	for i := range 4 {
		v := YMM()
		VXORPS(Mem{Base: row, Disp: 32 * i}, flip, v)
		VADDPS(Mem{Base: cols, Disp: 32 * i}, v, v)
		VMOVUPS(v, Mem{Base: cols, Disp: 32 * i})
	}
	ADDQ(Imm(128), row)
	ADDQ(Imm(128), cols)
	DECQ(groups)
	JMP(LabelRef("loop"))

	Label("done")
	VZEROUPPER()
	RET()
}

// squares converts 16 values and gains a turn to float64, in four registers of partial sums.
func squares() {
	TEXT("squaresAVX2", NOSPLIT, "func(sums *float64, row, gain *float32, groups int)")
	Pragma("noescape")
	Doc("squaresAVX2 adds the squares of the products of groups of 16 values to 16 partial sums.")
	sums, groups := Load(Param("sums"), GP64()), Load(Param("groups"), GP64())
	row, gain := Load(Param("row"), GP64()), Load(Param("gain"), GP64())
	var sum [4]VecVirtual
	for i := range sum {
		sum[i] = YMM()
		VMOVUPD(Mem{Base: sums, Disp: 32 * i}, sum[i])
	}

	Label("loop")
	TESTQ(groups, groups)
	JLE(LabelRef("done"))
	for i := range sum {
		v, g := YMM(), YMM()
		VCVTPS2PD(Mem{Base: row, Disp: 16 * i}, v)
		VCVTPS2PD(Mem{Base: gain, Disp: 16 * i}, g)
		VMULPD(g, v, v)
		VMULPD(v, v, v)
		VADDPD(v, sum[i], sum[i])
	}
	ADDQ(Imm(64), row)
	ADDQ(Imm(64), gain)
	DECQ(groups)
	JMP(LabelRef("loop"))

	Label("done")
	for i := range sum {
		VMOVUPD(sum[i], Mem{Base: sums, Disp: 32 * i})
	}
	VZEROUPPER()
	RET()
}
