package fingerprint

import (
	"context"
	"fmt"
	"slices"

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
			rows, cols := s.shape()
			if _, ok := sketch.Orientation(rows, cols); ok && rows*cols >= leastReshaped {
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

// Missing lists the shapes of the registered matrices that the match does not have, or not
// for the greater part.
func (c *Comparison) Missing(registered *Fingerprint) []Shape {
	have := make(map[int]bool)
	for _, t := range c.Tensors {
		if t.Registered < len(registered.Tensors) && t.Parameters > registered.Tensors[t.Registered].Parameters/2 {
			have[t.Registered] = true
		}
	}
	var out []Shape
	for i := range registered.Tensors {
		t := &registered.Tensors[i]
		if _, ok := sketch.Orientation(t.Rows, t.Cols); ok && !have[i] && t.Constant == "" && t.Rows*t.Cols >= leastReshaped && !slices.Contains(out, Shape{t.Rows, t.Cols}) {
			out = append(out, Shape{t.Rows, t.Cols})
		}
	}
	return out
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

// AddReshaped sketches tensors of the suspect as if they were matrices of other shapes,
// orders of axes and number formats, where shapes knows some of so many elements, and columns of them
// where high knows some of so many rows. They become further
// tensors of the fingerprint, without bytes of their own, and Compare then sees them.
// It reads 64 rows each. m is what suspect was computed from, opt what it was computed
// with.
func AddReshaped(ctx context.Context, m *formats.Model, suspect *Fingerprint, shapes, high func(int64) []Shape, opt Options) (*Added, error) {
	views := Views(m)
	r := newAdded(suspect, opt)
	if len(views) != len(suspect.Tensors) {
		return r, nil // a set of several files
	}
	spread := 0
	for _, as := range slices.Concat(slicesOf(m, views, shapes), stacks(m, views, shapes)) {
		if err := r.try(ctx, as); err != nil {
			return r, err
		}
	}
	for i := range views {
		for _, as := range slices.Concat(readings(m, &views[i], shapes), moved(m, i, &views[i], shapes), windows(m, i, &views[i], high)) {
			if as.other != nil && as.other.spread() {
				if spread++; spread > mostSpread {
					continue
				}
			}
			as.of = []int{i}
			if err := r.try(ctx, as); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// try adds what a reading gives. One that is cut short is left out: the tensor's own
// reading has said so.
func (r *Added) try(ctx context.Context, as reading) error {
	if len(r.readings) == mostReshaped || r.exhausted() {
		return ctx.Err()
	}
	k, err := r.sketch(ctx, as, false)
	if err == nil {
		r.add(as, k)
	}
	return ctx.Err()
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
			if _, whole := d.Bytes(s.Cols); whole && !same && rowsFit(s.Rows, s.Cols) && elements <= r.elements && len(out) < mostShapes {
				out = append(out, reading{run: r, Shape: s})
			}
		}
	}
	return out
}
