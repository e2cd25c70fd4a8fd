// Command cut writes the kernels of the chunk cut search for AVX2 and AVX-512.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!purego")

	TEXT("cutGroupsAVX2", NOSPLIT, "func(data *byte, groups int, c1, c2, last uint32) int")
	Pragma("noescape")
	Doc("cutGroupsAVX2 returns the first group of 32 positions (128 bytes; 4 more are read) in which one has a value of at most last, or groups.")
	data, groups := Load(Param("data"), GP64()), Load(Param("groups"), GP64())
	c1, c2, last := broadcast("c1"), broadcast("c2"), broadcast("last")
	i := GP64()
	XORQ(i, i)

	Label("loop")
	CMPQ(i, groups)
	JGE(LabelRef("done"))
	var least [4]VecVirtual
	for v := range 4 {
		a, b := YMM(), YMM()
		VMOVDQU(Mem{Base: data, Disp: 32 * v}, a)
		VMOVDQU(Mem{Base: data, Disp: 32*v + 4}, b)
		VPMULLD(a, c1, a)
		VPMULLD(b, c2, b)
		VPADDD(a, b, a)
		least[v] = a
	}
	VPMINUD(least[0], least[1], least[0])
	VPMINUD(least[2], least[3], least[2])
	VPMINUD(least[0], least[2], least[0])
	VPMINUD(least[0], last, least[1])
	VPCMPEQD(least[0], least[1], least[0]) // the least is its minimum with last: it is at most last
	VPTEST(least[0], least[0])
	JNZ(LabelRef("done"))
	ADDQ(Imm(128), data)
	INCQ(i)
	JMP(LabelRef("loop"))

	Label("done")
	VZEROUPPER()
	Store(i, ReturnIndex(0))
	RET()
	wide()
	Generate()
}

// ahead is how far before their use bytes are asked for, which crosses the borders of pages that the processor's own
// foresight stops at: bytes in memory are searched where they lie.
const ahead = 8 << 10

// wide writes the kernel for AVX-512: 64 positions a turn.
func wide() {
	TEXT("cutGroupsAVX512", NOSPLIT, "func(data *byte, groups int, c1, c2, last uint32) int")
	Pragma("noescape")
	Doc("cutGroupsAVX512 returns the first group of 64 positions (256 bytes; 4 more are read) in which one has a value of at most last, or groups.")
	data, groups := Load(Param("data"), GP64()), Load(Param("groups"), GP64())
	c1, c2, last := ZMM(), ZMM(), ZMM()
	VPBROADCASTD(Load(Param("c1"), GP32()), c1)
	VPBROADCASTD(Load(Param("c2"), GP32()), c2)
	VPBROADCASTD(Load(Param("last"), GP32()), last)
	i, found := GP64(), K()
	XORQ(i, i)

	Label("loop")
	CMPQ(i, groups)
	JGE(LabelRef("done"))
	var least [4]VecVirtual
	for v := range 4 {
		a, b := ZMM(), ZMM()
		PREFETCHT0(Mem{Base: data, Disp: 64*v + ahead}) // harmless where nothing lies there
		VPMULLD(Mem{Base: data, Disp: 64 * v}, c1, a)
		VPMULLD(Mem{Base: data, Disp: 64*v + 4}, c2, b)
		VPADDD(a, b, a)
		least[v] = a
	}
	VPMINUD(least[0], least[1], least[0])
	VPMINUD(least[2], least[3], least[2])
	VPMINUD(least[0], least[2], least[0])
	VPCMPUD(Imm(2), last, least[0], found) // at most
	KORTESTW(found, found)
	JNZ(LabelRef("done"))
	ADDQ(U32(256), data)
	INCQ(i)
	JMP(LabelRef("loop"))

	Label("done")
	VZEROUPPER()
	Store(i, ReturnIndex(0))
	RET()
}

// broadcast puts a parameter into every lane.
func broadcast(param string) VecVirtual {
	x, y := XMM(), YMM()
	VMOVD(Load(Param(param), GP32()), x)
	VPBROADCASTD(x, y)
	return y
}
