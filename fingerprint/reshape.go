package fingerprint

import (
	"context"
	"fmt"

	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// A file says in which shape and number format its bytes are to be read, and a thief's
// program may know better: flattened tensors, halved rows, halves called integers.
// Nothing of that changes a byte, so the sampled rows of a registered matrix lie at
// known places of any tensor that has as many elements.

// Bounds of reading tensors in other shapes.
const (
	mostReshaped  = 4096 // for one file
	mostShapes    = 8    // for one tensor
	leastReshaped = 1 << 12
)

// Shape is that of a matrix as it is sketched.
type Shape struct{ Rows, Cols int64 }

// ShapesOf returns the shapes of the sketched matrices of an encoded fingerprint. It
// reads no more than their list and verifies no checksum: shapes say where to look,
// and nothing else.
func ShapesOf(encoded []byte) ([]Shape, error) {
	const header = len(magic) + 2 + 2 + 8
	if len(encoded) < header+checksumBytes || string(encoded[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: no magic", ErrEncoding)
	}
	r := &reader{b: encoded[header : len(encoded)-checksumBytes]}
	for len(r.b) > 0 {
		tag := string(r.take(4))
		s := &reader{b: r.take(int64(r.word()))}
		if r.err != nil {
			return nil, fmt.Errorf("%w: %v", ErrEncoding, r.err)
		}
		if tag != tagTensors {
			continue
		}
		var out []Shape
		for range s.count(10) {
			if rows, cols := s.shape(); rowsFit(rows, cols) {
				out = append(out, Shape{rows, cols})
			}
		}
		if s.err != nil {
			return nil, fmt.Errorf("%w: section %q: %v", ErrEncoding, tag, s.err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: no tensors", ErrEncoding)
}

// rowsFit reports whether a matrix of this shape is sketched by its rows.
func rowsFit(rows, cols int64) bool {
	transposed, ok := sketch.Orientation(rows, cols)
	return ok && !transposed && rows*cols >= leastReshaped
}

// shape skips one tensor of its section and returns its rows and columns.
func (r *reader) shape() (rows, cols int64) {
	r.text()
	r.text()
	r.uint()
	r.text()
	for range r.count(1) {
		r.uint()
	}
	rows, cols = r.uint(), r.uint()
	r.uint()
	r.uint()
	for range r.count(1) {
		r.uint()
	}
	r.text()
	return rows, cols
}

// AddReshaped sketches tensors of the suspect as if they were matrices of other shapes
// and number formats, where shapes knows some of so many elements. They become further
// tensors of the fingerprint, without bytes of their own, and Compare then sees them.
// It reads 64 rows each. m is what suspect was computed from, opt what it was computed
// with.
func AddReshaped(ctx context.Context, m *formats.Model, suspect *Fingerprint, shapes func(elements int64) []Shape, opt Options) (*Added, error) {
	views := quant.Views(m)
	r := newAdded(suspect, opt)
	if len(views) != len(suspect.Tensors) {
		return r, nil // a set of several files
	}
	for i := range views {
		for _, as := range readings(m, &views[i], shapes) {
			if len(r.readings) == mostReshaped {
				return r, nil
			}
			k, err := r.sketch(ctx, as, false)
			if ctx.Err() != nil {
				return r, ctx.Err()
			}
			if err != nil {
				continue // cut short: the tensor's own reading has said so
			}
			r.add(as, k)
		}
	}
	return r, nil
}

// readings lists the ways to read a tensor other than the file's own.
func readings(m *formats.Model, v *quant.View, shapes func(int64) []Shape) (out []reading) {
	if len(v.Tensors) != 1 || v.Scheme != quant.Plain && v.Scheme != quant.Block {
		return nil
	}
	t := &m.Tensors[v.Tensors[0]]
	if t.Data.Strides != nil || t.Data.BigEndian || t.Data.Source == nil || t.Data.Length < 2*leastReshaped {
		return nil
	}
	types := []formats.DType{t.DType}
	if v.Scheme == quant.Plain {
		for _, d := range []formats.DType{formats.BF16, formats.F16, formats.F32} {
			if d != t.DType {
				types = append(types, d)
			}
		}
	}
	for _, d := range types {
		r, ok := newRun(t, d, 0)
		if !ok {
			continue
		}
		elements := r.elements
		if d == t.DType {
			elements = v.Rows * v.Cols
		}
		for _, s := range shapes(elements) {
			same := d == t.DType && s.Rows == v.Rows && s.Cols == v.Cols
			if _, whole := d.Bytes(s.Cols); whole && !same && elements <= r.elements && len(out) < mostShapes {
				out = append(out, reading{run: r, Shape: s})
			}
		}
	}
	return out
}
