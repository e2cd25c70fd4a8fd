package fingerprint

import (
	"encoding/binary"
	"slices"

	"github.com/zeebo/blake3"
)

// digester hashes labelled fields, for one digest after another: it is large, and pieces and tensors may be
// millions. The label separates the kinds of digests.
type digester struct{ h *blake3.Hasher }

func newDigester() digester { return digester{blake3.New()} }

func (d digester) begin(label string) {
	d.h.Reset()
	d.bytes([]byte("weightwarden/1 " + label))
}

func (d digester) number(v int64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(v))
	d.h.Write(b[:])
}

// bytes adds a length and the bytes, so that fields cannot run into each other.
func (d digester) bytes(b []byte) {
	d.number(int64(len(b)))
	d.h.Write(b)
}

func (d digester) sum() Digest { return Digest(d.h.Sum(nil)) }

// piece is over lengths and keys of all chunks, zero where one was not hashed.
func (d digester) piece(chunks []Chunk) Digest {
	d.begin("piece")
	for _, c := range chunks {
		if c.Key == (ChunkKey{}) {
			return Digest{}
		}
		d.number(c.Length())
		d.h.Write(c.Key[:])
	}
	return d.sum()
}

// tensor is over type class, element count and pieces. Shapes and names
// are left out: squeezing, flattening and renaming do not change it.
func (d digester) tensor(f *Fingerprint, t *Tensor) Digest {
	if len(t.Pieces) == 0 || f.Pieces[t.Pieces[0]].Digest.IsZero() {
		return Digest{} // at once: a quick look has no digests at all
	}
	d.begin("tensor")
	d.number(int64(t.DType))
	d.number(t.Parameters)
	for _, p := range t.Pieces {
		pd := f.Pieces[p].Digest
		if pd.IsZero() {
			return Digest{}
		}
		d.h.Write(pd[:])
	}
	return d.sum()
}

func contentDigest(f *Fingerprint) Digest {
	all := make([]Digest, 0, len(f.Tensors))
	for i := range f.Tensors {
		if f.Tensors[i].Digest.IsZero() {
			return Digest{}
		}
		all = append(all, f.Tensors[i].Digest)
	}
	if len(all) == 0 {
		return Digest{}
	}
	slices.SortFunc(all, func(a, b Digest) int { return slices.Compare(a[:], b[:]) })
	d := newDigester()
	d.begin("content")
	d.number(int64(len(all)))
	for _, t := range all {
		d.h.Write(t[:])
	}
	return d.sum()
}

// file is the identity of a whole file: size and pieces in order. It is not
// b3sum's digest, which would cost another pass; it changes with any byte.
func (d digester) file(f *Fingerprint, fl *file) Digest {
	d.begin("file")
	d.number(fl.size)
	covered := int64(0)
	for _, p := range fl.pieces {
		pd := f.Pieces[p].Digest
		if pd.IsZero() {
			return Digest{}
		}
		covered += f.Pieces[p].Length
		d.h.Write(pd[:])
	}
	if covered != fl.size || covered == 0 {
		return Digest{}
	}
	return d.sum()
}
