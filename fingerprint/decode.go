package fingerprint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/zeebo/blake3"

	"weightwarden/fingerprint/invariant"
	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
)

const halfType = formats.F16

// ErrEncoding is wrapped by every error of Decode.
var ErrEncoding = errors.New("not a valid fingerprint")

// Decode reads what Encode wrote. The bytes may be an attacker's: lengths are
// bounded by the bytes that remain, and references between sections are checked.
// Sections of later versions are skipped.
func Decode(b []byte) (*Fingerprint, error) {
	const header = len(magic) + 2 + 2 + 8
	if len(b) < header+checksumBytes || string(b[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: no magic", ErrEncoding)
	}
	body, sum := b[:len(b)-checksumBytes], blake3.Sum256(b[:len(b)-checksumBytes])
	if string(sum[:checksumBytes]) != string(b[len(body):]) {
		return nil, fmt.Errorf("%w: checksum does not match", ErrEncoding)
	}
	if v := binary.LittleEndian.Uint16(body[4:]); v != encodingVersion {
		return nil, fmt.Errorf("%w: encoding version %d is not known to this program", ErrEncoding, v)
	}
	f := &Fingerprint{Scheme: Scheme(binary.LittleEndian.Uint16(body[6:])), KeyID: KeyID(body[8:16])}
	r := &reader{b: body[header:]}
	for len(r.b) > 0 && r.err == nil {
		tag := string(r.take(4))
		s := &reader{b: r.take(int64(r.word()))}
		if r.err != nil {
			break
		}
		f.decodeSection(tag, s)
		if s.err != nil {
			return nil, fmt.Errorf("%w: section %q: %v", ErrEncoding, tag, s.err)
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("%w: %v", ErrEncoding, r.err)
	}
	digests := newDigester()
	for i := range f.Tensors {
		f.Tensors[i].Digest = digests.tensor(f, &f.Tensors[i])
	}
	return f, nil
}

func (f *Fingerprint) decodeSection(tag string, r *reader) {
	switch tag {
	case tagHead:
		f.decodeHead(r)
	case tagFiles:
		f.decodeFiles(r)
	case tagPieces:
		f.decodePieces(r)
	case tagTensors:
		f.decodeTensors(r)
	case tagSketches:
		f.decodeSketches(r)
	case tagInvariants:
		f.decodeInvariants(r)
	default:
		r.b = nil
	}
	if len(r.b) > 0 && r.err == nil {
		r.err = fmt.Errorf("%d bytes too many", len(r.b))
	}
}

// reader takes primitives off b; after the first error all are zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.b = nil
}

func (r *reader) take(n int64) []byte {
	if n < 0 || n > int64(len(r.b)) {
		r.fail("%d bytes wanted, %d left", n, len(r.b))
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) uint() int64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > math.MaxInt64 {
		r.fail("bad number")
		return 0
	}
	r.b = r.b[n:]
	return int64(v)
}

// count is a number of items that take at least size bytes each.
func (r *reader) count(size int) int {
	n := r.uint()
	if n > int64(len(r.b)/size) {
		r.fail("%d items in %d bytes", n, len(r.b))
		return 0
	}
	return int(n)
}

func (r *reader) text() string { return string(r.take(r.uint())) }

func (r *reader) flag() bool {
	b := r.take(1)
	return len(b) == 1 && b[0] != 0
}

func (r *reader) word() uint64 {
	if b := r.take(8); len(b) == 8 {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) float() float32 {
	if b := r.take(4); len(b) == 4 {
		return math.Float32frombits(binary.LittleEndian.Uint32(b))
	}
	return 0
}

func (r *reader) half() float32 {
	if b := r.take(2); len(b) == 2 {
		return fromHalf(binary.LittleEndian.Uint16(b))
	}
	return 0
}

func (r *reader) digest() (d Digest) {
	copy(d[:], r.take(int64(len(d))))
	return d
}

func (f *Fingerprint) decodeHead(r *reader) {
	f.Format = r.text()
	f.Size = r.uint()
	f.UnreadBytes = r.uint()
	f.Registered = r.flag()
	if r.flag() {
		f.Digests = &FileDigests{BLAKE3: r.digest(), SHA256: r.digest()}
	}
}

func (f *Fingerprint) decodeFiles(r *reader) {
	f.Files = make([]File, r.count(34))
	for i := range f.Files {
		f.Files[i] = File{Name: r.text(), Size: r.uint(), Digest: r.digest()}
	}
}

func (f *Fingerprint) decodePieces(r *reader) {
	f.Pieces = make([]Piece, r.count(3))
	digests := newDigester()
	for i := range f.Pieces {
		p := &f.Pieces[i]
		p.File = int(r.uint())
		p.Offset = r.uint()
		p.Chunks = make([]Chunk, r.count(1))
		p.Plain = true
		for k := range p.Chunks {
			v := r.uint()
			c := NewChunk(v>>2, ChunkKey{}, v&2 != 0)
			if v&1 != 0 {
				copy(c.Key[:], r.take(int64(len(c.Key))))
			}
			p.Chunks[k] = c
			p.Plain = p.Plain && c.Plain()
			if p.Length += c.Length(); p.Length < 0 {
				r.fail("piece %d is longer than a number holds", i)
			}
		}
		p.Digest = digests.piece(p.Chunks)
	}
}

func (f *Fingerprint) decodeTensors(r *reader) {
	f.Tensors = make([]Tensor, r.count(10))
	for i := range f.Tensors {
		t := &f.Tensors[i]
		t.Name = r.text()
		t.Member = r.text()
		t.DType = formats.DType(r.uint())
		t.Packing = r.text()
		t.Shape = make([]int64, r.count(1))
		for k := range t.Shape {
			t.Shape[k] = r.uint()
		}
		t.Rows, t.Cols, t.Parameters, t.Bytes = r.uint(), r.uint(), r.uint(), r.uint()
		t.Pieces = make([]int, r.count(1))
		for k := range t.Pieces {
			t.Pieces[k] = int(r.uint())
			if t.Pieces[k] >= len(f.Pieces) {
				r.fail("tensor %d refers to piece %d of %d", i, t.Pieces[k], len(f.Pieces))
				return
			}
		}
		t.Constant = r.text()
	}
}

func (f *Fingerprint) decodeSketches(r *reader) {
	for range r.count(16) {
		i := r.uint()
		s := r.sketch()
		if r.err != nil {
			return
		}
		if i >= int64(len(f.Tensors)) {
			r.fail("sketch of tensor %d of %d", i, len(f.Tensors))
			return
		}
		f.Tensors[i].Sketch = s
	}
}

func (r *reader) sketch() *sketch.Tensor {
	s := &sketch.Tensor{Buckets: int(r.uint()), Length: r.uint(), Count: r.uint(), Transposed: r.flag()}
	if s.Buckets != 64 && s.Buckets != 256 {
		r.fail("%d buckets", s.Buckets)
		return nil
	}
	n := r.count(s.Buckets/8 + 1)
	if n > sketch.AlignedRows {
		r.fail("%d aligned rows", n)
		return nil
	}
	zero := r.word()
	s.Aligned = make([]sketch.Row, n)
	for i := range s.Aligned {
		s.Aligned[i] = sketch.Row{Index: r.uint(), Norm: float32(1 - zero>>i&1), Bits: r.bits(s.Buckets)}
	}
	s.Content = make([]sketch.Row, r.count(s.Buckets/8+5))
	for i := range s.Content {
		s.Content[i] = sketch.Row{Index: r.uint(), Norm: r.float(), Bits: r.bits(s.Buckets)}
	}
	s.Groups = int(r.uint())
	if s.Groups < 0 || s.Groups > 4 {
		r.fail("%d groups", s.Groups)
		return nil
	}
	scale := r.float()
	s.Sum = make([]float32, s.Groups*s.Buckets)
	for i := range s.Sum {
		s.Sum[i] = r.half() * scale
	}
	return s
}

func (r *reader) bits(buckets int) (b sketch.Bits) {
	for i := range buckets / 64 {
		b[i] = r.word()
	}
	return b
}

func (f *Fingerprint) decodeInvariants(r *reader) {
	f.Layers = make([]invariant.Layer, r.count(2))
	for i := range f.Layers {
		l := &f.Layers[i]
		l.Name = r.text()
		l.Neurons = make([]invariant.Neuron, r.count(10))
		for k := range l.Neurons {
			for j := range l.Neurons[k] {
				l.Neurons[k][j] = r.half()
			}
		}
	}
}
