package fingerprint

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/zeebo/blake3"

	"weightwarden/fingerprint/sketch"
	"weightwarden/formats/quant"
)

// The encoding: magic, version, sections, checksum. A section is a tag of four
// letters, its length as u64 and its contents, so that later layers are new
// sections which older programs skip. Numbers are little-endian or unsigned
// varints. docs/fingerprint-spec.md has the byte diagrams.
const (
	magic           = "WWFP"
	encodingVersion = 1
	checksumBytes   = 16
)

// The tags of sections.
const (
	tagHead       = "HEAD"
	tagFiles      = "FILE"
	tagPieces     = "PIEC"
	tagTensors    = "TENS"
	tagSketches   = "SKET"
	tagInvariants = "INVA"
)

// Encode returns the fingerprint in its versioned binary form. Column samples,
// notes and counts of bytes read are not part of it.
func (f *Fingerprint) Encode() []byte {
	var out []byte
	out = append(out, magic...)
	out = binary.LittleEndian.AppendUint16(out, encodingVersion)
	out = binary.LittleEndian.AppendUint16(out, uint16(f.Scheme))
	out = append(out, f.KeyID[:]...)
	section := func(tag string, body []byte) {
		out = append(out, tag...)
		out = binary.LittleEndian.AppendUint64(out, uint64(len(body)))
		out = append(out, body...)
	}
	section(tagHead, f.encodeHead())
	section(tagFiles, f.encodeFiles())
	section(tagPieces, f.encodePieces())
	section(tagTensors, f.encodeTensors())
	section(tagSketches, f.encodeSketches())
	if len(f.Layers) > 0 {
		section(tagInvariants, f.encodeInvariants())
	}
	sum := blake3.Sum256(out)
	return append(out, sum[:checksumBytes]...)
}

// writer appends the primitives of the encoding.
type writer struct{ b []byte }

func (w *writer) uint(v int64)    { w.b = binary.AppendUvarint(w.b, uint64(v)) }
func (w *writer) text(s string)   { w.uint(int64(len(s))); w.b = append(w.b, s...) }
func (w *writer) digest(d Digest) { w.b = append(w.b, d[:]...) }
func (w *writer) float(v float32) { w.b = binary.LittleEndian.AppendUint32(w.b, math.Float32bits(v)) }
func (w *writer) word(v uint64)   { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *writer) half(v float32)  { w.b = binary.LittleEndian.AppendUint16(w.b, toHalf(v)) }
func (w *writer) flag(v bool)     { w.b = append(w.b, b2u(v)) }
func b2u(v bool) (u uint8) {
	if v {
		u = 1
	}
	return u
}

func (f *Fingerprint) encodeHead() []byte {
	var w writer
	w.text(f.Format)
	w.uint(f.Size)
	w.uint(f.UnreadBytes)
	w.flag(f.Registered)
	w.flag(f.Digests != nil)
	if f.Digests != nil {
		w.digest(f.Digests.BLAKE3)
		w.digest(f.Digests.SHA256)
	}
	return w.b
}

func (f *Fingerprint) encodeFiles() []byte {
	var w writer
	w.uint(int64(len(f.Files)))
	for i := range f.Files {
		w.text(f.Files[i].Name)
		w.uint(f.Files[i].Size)
		w.digest(f.Files[i].Digest)
	}
	return w.b
}

func (f *Fingerprint) encodePieces() []byte {
	var w writer
	w.uint(int64(len(f.Pieces)))
	for i := range f.Pieces {
		p := &f.Pieces[i]
		w.uint(int64(p.File))
		w.uint(p.Offset)
		w.uint(int64(len(p.Chunks)))
		for _, c := range p.Chunks {
			hashed := c.Key != ChunkKey{}
			w.uint(c.Length()<<2 | int64(b2u(c.Plain()))<<1 | int64(b2u(hashed)))
			if hashed {
				w.b = append(w.b, c.Key[:]...)
			}
		}
	}
	return w.b
}

func (f *Fingerprint) encodeTensors() []byte {
	var w writer
	w.uint(int64(len(f.Tensors)))
	for i := range f.Tensors {
		t := &f.Tensors[i]
		w.text(t.Name)
		w.text(t.Member)
		w.uint(int64(t.DType))
		w.text(t.Packing)
		w.uint(int64(len(t.Shape)))
		for _, d := range t.Shape {
			w.uint(d)
		}
		w.uint(t.Rows)
		w.uint(t.Cols)
		w.uint(t.Parameters)
		w.uint(t.Bytes)
		w.uint(int64(len(t.Pieces)))
		for _, p := range t.Pieces {
			w.uint(int64(p))
		}
		w.text(t.Constant)
	}
	return w.b
}

func (f *Fingerprint) encodeSketches() []byte {
	var w writer
	n := 0
	for i := range f.Tensors {
		if f.Tensors[i].Sketch != nil {
			n++
		}
	}
	w.uint(int64(n))
	for i := range f.Tensors {
		if s := f.Tensors[i].Sketch; s != nil {
			w.uint(int64(i))
			w.sketch(s)
		}
	}
	return w.b
}

func (w *writer) sketch(s *sketch.Tensor) {
	w.uint(int64(s.Buckets))
	w.uint(s.Length)
	w.uint(s.Count)
	w.flag(s.Transposed)
	w.uint(int64(len(s.Aligned)))
	var zero uint64 // rows without evidence
	for i, r := range s.Aligned {
		if r.Norm <= 0 {
			zero |= 1 << i
		}
	}
	w.word(zero)
	for _, r := range s.Aligned {
		w.uint(r.Index)
		w.bits(&r.Bits, s.Buckets)
	}
	w.uint(int64(len(s.Content)))
	for _, r := range s.Content {
		w.uint(r.Index)
		w.float(r.Norm)
		w.bits(&r.Bits, s.Buckets)
	}
	w.uint(int64(s.Groups))
	scale := largest(s.Sum)
	w.float(scale)
	for _, v := range s.Sum {
		w.half(v / scale)
	}
}

func (w *writer) bits(b *sketch.Bits, buckets int) {
	for i := range buckets / 64 {
		w.word(b[i])
	}
}

// largest is the scale of a sum's halves, 1 for one that is all zero or not finite.
func largest(sum []float32) float32 {
	m := float32(0)
	for _, v := range sum {
		m = max(m, v, -v)
	}
	if m == 0 || math.IsInf(float64(m), 0) || math.IsNaN(float64(m)) {
		return 1
	}
	return m
}

func (f *Fingerprint) encodeInvariants() []byte {
	var w writer
	w.uint(int64(len(f.Layers)))
	for _, l := range f.Layers {
		w.text(l.Name)
		w.uint(int64(len(l.Neurons)))
		for _, n := range l.Neurons {
			for _, v := range n {
				w.half(v)
			}
		}
	}
	return w.b
}

// toHalf rounds to IEEE binary16, to the nearest and ties to even.
func toHalf(v float32) uint16 {
	b := math.Float32bits(v)
	sign := uint16(b>>16) & 0x8000
	exponent := int(b>>23&0xff) - 127 + 15
	mantissa := b & 0x7fffff
	switch {
	case exponent >= 31:
		return sign | 0x7bff // the largest finite; sums are scaled to at most 1
	case exponent <= 0:
		if exponent < -10 {
			return sign
		}
		mantissa |= 1 << 23
		shift := uint(14 - exponent)
		half := uint16(mantissa >> shift)
		rest, middle := mantissa&(1<<shift-1), uint32(1)<<(shift-1)
		if rest > middle || rest == middle && half&1 == 1 {
			half++
		}
		return sign | half
	}
	half := uint16(exponent)<<10 | uint16(mantissa>>13)
	if rest := mantissa & 0x1fff; rest > 0x1000 || rest == 0x1000 && half&1 == 1 {
		half++
	}
	return sign | min(half, 0x7bff)
}

// fromHalf is the exact inverse for finite numbers.
func fromHalf(h uint16) float32 {
	var out [1]float32
	var raw [2]byte
	binary.LittleEndian.PutUint16(raw[:], h)
	if err := quant.Decode(halfType, out[:], raw[:]); err != nil {
		panic(fmt.Sprintf("binary16 has a decoder: %v", err)) // cannot happen
	}
	return out[0]
}
