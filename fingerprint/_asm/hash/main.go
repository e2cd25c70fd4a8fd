// Command hash writes the AVX-512 kernel of BLAKE3: 16 inputs side by side, one to a lane. The 16 words of state and the
// 16 of the message fill all registers.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const lanes = 16

var zmm = [32]VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
	Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31}

// order is the permutation of message words from one round to the next (section 2.2 of the BLAKE3 paper).
var order = [16]int{2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8}

func main() {
	ConstraintExpr("!purego")
	iv := GLOBL("blake3IV", RODATA|NOPTR)
	for i, word := range []uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a} {
		DATA(4*i, U32(word))
	}
	TEXT("hash16AVX512", NOSPLIT, "func(out, data *byte, stride, blocks int, key, counters *uint32, flags, first, last, length uint32)")
	Pragma("noescape")
	Doc("hash16AVX512 chains the blocks of 16 inputs that lie stride bytes apart and writes 16 chaining values of 32 bytes.")
	data, stride := Load(Param("data"), GP64()), Load(Param("stride"), GP64())
	blocks, counters := Load(Param("blocks"), GP64()), Load(Param("counters"), GP64())
	first := Load(Param("first"), GP32())
	chain := AllocLocal(8 * 64)
	key := Load(Param("key"), GP64())
	for i := range 8 {
		VPBROADCASTD(Mem{Base: key, Disp: 4 * i}, zmm[i])
		VMOVDQU32(zmm[i], chain.Offset(64*i))
	}

	Label("block")
	flags, length := Load(Param("flags"), GP32()), GP32()
	ORL(first, flags)
	XORL(first, first)
	MOVL(U32(64), length)
	CMPQ(blocks, Imm(1))
	JNE(LabelRef("inner"))
	last := Load(Param("last"), GP32())
	ORL(last, flags)
	Load(Param("length"), length)
	Label("inner")
	row := GP64()
	MOVQ(data, row)
	for i := range lanes {
		VMOVDQU32(Mem{Base: row}, zmm[lanes+i])
		if i < lanes-1 {
			ADDQ(stride, row)
		}
	}
	message := transpose()
	for i := range 8 {
		VMOVDQU32(chain.Offset(64*i), zmm[i])
	}
	for i := range 4 {
		VPBROADCASTD(iv.Offset(4*i), zmm[8+i])
	}
	VMOVDQU32(Mem{Base: counters}, Z12)
	VMOVDQU32(Mem{Base: counters, Disp: 64}, Z13)
	VPBROADCASTD(length, Z14)
	VPBROADCASTD(flags, Z15)
	for range 7 {
		round(message)
		var next [16]VecPhysical
		for i, from := range order {
			next[i] = message[from]
		}
		message = next
	}
	for i := range 8 {
		VPXORD(zmm[8+i], zmm[i], zmm[i])
		VMOVDQU32(zmm[i], chain.Offset(64*i))
	}
	ADDQ(Imm(64), data)
	DECQ(blocks)
	JNE(LabelRef("block"))

	for i := range 8 {
		VMOVDQU32(zmm[i], zmm[lanes+i])
	}
	out := Load(Param("out"), GP64())
	for i, r := range transpose() {
		VMOVDQU32(r.AsY(), Mem{Base: out, Disp: 32 * i})
	}
	VZEROUPPER()
	RET()
	Generate()
}

// transpose turns rows of 16 words in Z16 to Z31 into columns and returns where they are, by way of Z0 to Z15.
func transpose() (columns [16]VecPhysical) {
	rows, other := zmm[16:], zmm[:16]
	for g := range 8 { // words of two rows in turn
		VPUNPCKLDQ(rows[2*g+1], rows[2*g], other[2*g])
		VPUNPCKHDQ(rows[2*g+1], rows[2*g], other[2*g+1])
	}
	for g := range 4 { // of four: 128-bit part l of word c is column 4l+c
		for half := range 2 {
			VPUNPCKLQDQ(other[4*g+2+half], other[4*g+half], rows[4*g+2*half])
			VPUNPCKHQDQ(other[4*g+2+half], other[4*g+half], rows[4*g+2*half+1])
		}
	}
	for c := range 4 { // even and odd parts of two groups of rows
		for pair := range 2 {
			a, b := rows[8*pair+c], rows[8*pair+4+c]
			VSHUFI32X4(Imm(0x88), b, a, other[4*c+2*pair])
			VSHUFI32X4(Imm(0xdd), b, a, other[4*c+2*pair+1])
		}
	}
	for c := range 4 {
		for odd := range 2 {
			a, b := other[4*c+odd], other[4*c+2+odd]
			VSHUFI32X4(Imm(0x88), b, a, rows[4*odd+c])
			VSHUFI32X4(Imm(0xdd), b, a, rows[4*(odd+2)+c])
			columns[4*odd+c], columns[4*(odd+2)+c] = rows[4*odd+c], rows[4*(odd+2)+c]
		}
	}
	return columns
}

// round mixes columns, then diagonals, four at a time so that their steps overlap.
func round(m [16]VecPhysical) {
	for half := range 2 {
		var a, b, c, d [4]VecPhysical
		for i := range 4 {
			shift := i
			if half == 1 {
				shift = i + 1
			}
			a[i], b[i] = zmm[i], zmm[4+shift%4]
			c[i], d[i] = zmm[8+(i+2*half)%4], zmm[12+(i+3*half)%4]
		}
		mix(a, b, c, d, m, 8*half, 16, 12)
		mix(a, b, c, d, m, 8*half+1, 8, 7)
	}
}

func mix(a, b, c, d [4]VecPhysical, m [16]VecPhysical, word int, right1, right2 uint64) {
	each := func(step func(i int)) {
		for i := range 4 {
			step(i)
		}
	}
	each(func(i int) { VPADDD(m[word+2*i], a[i], a[i]) })
	each(func(i int) { VPADDD(b[i], a[i], a[i]) })
	each(func(i int) { VPXORD(a[i], d[i], d[i]) })
	each(func(i int) { VPRORD(Imm(right1), d[i], d[i]) })
	each(func(i int) { VPADDD(d[i], c[i], c[i]) })
	each(func(i int) { VPXORD(c[i], b[i], b[i]) })
	each(func(i int) { VPRORD(Imm(right2), b[i], b[i]) })
}
