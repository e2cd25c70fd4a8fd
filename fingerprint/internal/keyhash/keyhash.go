// Package keyhash computes keyed BLAKE3 of chunks: by 16 lanes of AVX-512 where the processor has it, else by
// zeebo/blake3. Both give the same digests, those of the BLAKE3 specification; docs/decisions/0570 has the speeds.
package keyhash

import (
	"encoding/binary"

	"github.com/zeebo/blake3"

	"weightwarden/fingerprint/internal/simd"
)

// Flags of the compression function, and the bytes of a leaf (BLAKE3 paper, sections 2.1 and 2.2).
const (
	chunkStart = 1 << iota
	chunkEnd
	parent
	root
	keyed

	leaf = 1024
)

// least is the length from which the lanes are used: they take 16 leaves at a time.
const least = simd.HashLanes * leaf

// Hasher hashes one piece of data after the other under one key. It is not safe for concurrent use.
type Hasher struct {
	plain *blake3.Hasher
	key   [8]uint32
	chain []byte // chaining values of 32 bytes, of a level of the tree
}

// New returns a hasher; the key has 32 bytes.
func New(key []byte) (*Hasher, error) {
	plain, err := blake3.NewKeyed(key)
	if err != nil {
		return nil, err
	}
	h := &Hasher{plain: plain}
	for i := range h.key {
		h.key[i] = binary.LittleEndian.Uint32(key[4*i:])
	}
	return h, nil
}

// Sum returns the keyed digest of b.
func (h *Hasher) Sum(b []byte) (sum [32]byte) {
	if len(b) >= least && simd.HasHash() {
		return h.tree(b)
	}
	h.plain.Reset()
	h.plain.Write(b)
	h.plain.Sum(sum[:0])
	return sum
}

// tree is Sum of at least 16 leaves, level after level.
func (h *Hasher) tree(b []byte) (sum [32]byte) {
	n := (len(b) + leaf - 1) / leaf
	if want := 64*n + 2*32*simd.HashLanes; len(h.chain) < want { // the last 16 of a level may reach over its end
		h.chain = make([]byte, want)
	}
	h.leaves(b)
	for ; n > 2; n = (n + 1) / 2 {
		odd := [32]byte(h.chain[32*(n-1):])
		h.parents(n/2, parent|keyed)
		if n%2 == 1 {
			copy(h.chain[32*(n/2):], odd[:])
		}
	}
	h.parents(1, parent|keyed|root)
	return [32]byte(h.chain)
}

// leaves puts the chaining values of all leaves into chain.
func (h *Hasher) leaves(b []byte) {
	whole := len(b) / leaf
	j := simd.HashJob{Key: h.key, Stride: leaf, Blocks: leaf / 64, Flags: keyed, First: chunkStart, Last: chunkEnd, Length: 64}
	for at := 0; at < whole; at += simd.HashLanes {
		at := min(at, whole-simd.HashLanes) // the last 16 may take in some for the second time
		count(&j, at)
		simd.Hash16(h.lanes(at), b[leaf*at:], &j)
	}
	if rest := b[leaf*whole:]; len(rest) > 0 { // in all lanes, of which one counts
		var padded [leaf]byte
		copy(padded[:], rest)
		count(&j, whole)
		j.Stride, j.Blocks = 0, (len(rest)+63)/64
		j.Length = uint32(len(rest) - 64*(j.Blocks-1))
		simd.Hash16(h.lanes(whole), padded[:], &j)
	}
}

// count numbers the lanes from first on. Chunks are far from 2^32 leaves.
func count(j *simd.HashJob, first int) {
	for i := range simd.HashLanes {
		j.Counters[i] = uint32(first + i)
	}
}

// parents joins pairs of chaining values, n of them, in place.
func (h *Hasher) parents(n int, flags uint32) {
	j := simd.HashJob{Key: h.key, Stride: 64, Blocks: 1, Flags: flags, Length: 64}
	for at := 0; at < n; at += simd.HashLanes {
		simd.Hash16(h.lanes(at), h.chain[64*at:], &j)
	}
}

// lanes is the place of 16 chaining values from number at on.
func (h *Hasher) lanes(at int) *[32 * simd.HashLanes]byte {
	return (*[32 * simd.HashLanes]byte)(h.chain[32*at:])
}
