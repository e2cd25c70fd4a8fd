package simd

import (
	"encoding/binary"
	"math/bits"
)

// HashLanes is how many inputs Hash16 takes at a time.
const HashLanes = 16

// HashJob says what Hash16 compresses, in the terms of the BLAKE3 paper, section 2.
type HashJob struct {
	Key      [8]uint32  // chaining value before the first block
	Counters [32]uint32 // t of each lane: lower halves, then upper ones
	Stride   int        // bytes from one input to the next
	Blocks   int        // of 64 bytes, in each input; at least 1
	Flags    uint32     // of every block
	First    uint32     // further flags of the first block
	Last     uint32     // and of the last one
	Length   uint32     // bytes that count in the last block, which is zero beyond them
}

// HasHash reports whether the path in use has a kernel for Hash16. Without one, other implementations of BLAKE3 are
// faster.
func HasHash() bool { return active.hasHash() }

// Hash16 chains the blocks of 16 inputs and writes their 16 chaining values of 32 bytes to out. data holds
// 15*Stride + 64*Blocks bytes at least; out may be the start of data.
func Hash16(out *[32 * HashLanes]byte, data []byte, j *HashJob) { active.hash16(out, data, j) }

func (p path) hash16(out *[32 * HashLanes]byte, data []byte, j *HashJob) {
	_ = data[(HashLanes-1)*j.Stride+64*j.Blocks-1] // panics where data is too short
	if !p.hashLanes(out, data, j) {
		hash16Pure(out, data, j)
	}
}

// hash16Pure is Hash16 in plain Go.
func hash16Pure(out *[32 * HashLanes]byte, data []byte, j *HashJob) {
	var all [HashLanes][8]uint32
	for lane := range all {
		all[lane] = j.Key
		for b := range j.Blocks {
			flags, length := j.Flags, uint32(64)
			if b == 0 {
				flags |= j.First
			}
			if b == j.Blocks-1 {
				flags, length = flags|j.Last, j.Length
			}
			counter := [2]uint32{j.Counters[lane], j.Counters[HashLanes+lane]}
			compress(&all[lane], data[lane*j.Stride+64*b:][:64], counter, length, flags)
		}
	}
	for lane := range all {
		for i, word := range all[lane] {
			binary.LittleEndian.PutUint32(out[32*lane+4*i:], word)
		}
	}
}

// compress is the compression function of BLAKE3, cut off to a chaining value.
func compress(chain *[8]uint32, block []byte, counter [2]uint32, length, flags uint32) {
	var m [16]uint32
	for i := range m {
		m[i] = binary.LittleEndian.Uint32(block[4*i:])
	}
	v := [16]uint32{8: 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, counter[0], counter[1], length, flags}
	copy(v[:], chain[:])
	for range 7 {
		for i := range 4 {
			mix(&v, i, 4+i, 8+i, 12+i, m[2*i], m[2*i+1])
		}
		for i := range 4 {
			mix(&v, i, 4+(i+1)%4, 8+(i+2)%4, 12+(i+3)%4, m[8+2*i], m[9+2*i])
		}
		m = [16]uint32{m[2], m[6], m[3], m[10], m[7], m[0], m[4], m[13], m[1], m[11], m[12], m[5], m[9], m[14], m[15], m[8]}
	}
	for i := range chain {
		chain[i] = v[i] ^ v[i+8]
	}
}

func mix(v *[16]uint32, a, b, c, d int, x, y uint32) {
	v[a] += v[b] + x
	v[d] = bits.RotateLeft32(v[d]^v[a], -16)
	v[c] += v[d]
	v[b] = bits.RotateLeft32(v[b]^v[c], -12)
	v[a] += v[b] + y
	v[d] = bits.RotateLeft32(v[d]^v[a], -8)
	v[c] += v[d]
	v[b] = bits.RotateLeft32(v[b]^v[c], -7)
}
