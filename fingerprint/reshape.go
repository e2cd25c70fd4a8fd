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

// reading is one way to read the bytes of a tensor.
type reading struct {
	tensor int // of the model, and of the fingerprint
	dtype  formats.DType
	Shape
}

// AddReshaped sketches tensors of the suspect as if they were matrices of other shapes
// and number formats, where shapes knows some of so many elements. They become further
// tensors of the fingerprint, without bytes of their own, and Compare then sees them.
// It reads 64 rows each. m is what suspect was computed from, opt what it was computed
// with.
func AddReshaped(ctx context.Context, m *formats.Model, suspect *Fingerprint, shapes func(elements int64) []Shape, opt Options) (*Reshaped, error) {
	views := quant.Views(m)
	r := &Reshaped{m: m, views: views, suspect: suspect, own: len(suspect.Tensors), opt: opt}
	if len(views) != len(suspect.Tensors) {
		return r, nil // a set of several files
	}
	key := opt.Key
	if key == nil {
		key = PublicKey()
	}
	r.maker = sketch.NewMaker(key.derive("sketch"))
	for i := range views {
		for _, as := range readings(m, i, &views[i], shapes) {
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

// Reshaped is what AddReshaped added to a fingerprint.
type Reshaped struct {
	m        *formats.Model
	views    []quant.View
	suspect  *Fingerprint
	own      int // tensors of the suspect before
	readings []reading
	maker    *sketch.Maker
	opt      Options
}

// Len returns how many tensors were added.
func (r *Reshaped) Len() int { return len(r.readings) }

func (r *Reshaped) add(as reading, k *sketch.Tensor) {
	t := r.suspect.Tensors[as.tensor]
	t.DType, t.Rows, t.Cols, t.Parameters, t.Pieces, t.Constant, t.Sketch = as.dtype, as.Rows, as.Cols, as.Rows*as.Cols, nil, "", k
	r.suspect.Tensors = append(r.suspect.Tensors, t)
	r.readings = append(r.readings, as)
}

// Keep leaves only those that matches name, read in whole so that layer T is there,
// and returns how many these are.
func (r *Reshaped) Keep(ctx context.Context, matches []Match) (int, error) {
	wanted := make(map[int]bool)
	for i := range matches {
		for _, t := range matches[i].Tensors {
			if t.Suspect >= r.own {
				wanted[t.Suspect-r.own] = true
			}
		}
	}
	all := r.readings
	r.suspect.Tensors, r.readings = r.suspect.Tensors[:r.own], nil
	for i, as := range all {
		if !wanted[i] {
			continue
		}
		k, err := r.sketch(ctx, as, true)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err == nil {
			r.add(as, k)
		}
	}
	return len(r.readings), nil
}

// sketch reads a tensor's bytes as somebody else might: the sampled rows, or in whole
// also those of layer T.
func (r *Reshaped) sketch(ctx context.Context, as reading, whole bool) (*sketch.Tensor, error) {
	b, ok := r.maker.NewBuilder(as.Rows, as.Cols, false)
	size, fits := as.dtype.Bytes(as.Cols)
	if !ok || !fits {
		return nil, fmt.Errorf("no matrix of %d x %d", as.Rows, as.Cols)
	}
	data := r.m.Tensors[r.views[as.tensor].Tensors[0]].Data
	raw, row := make([]byte, size), make([]float32, as.Cols)
	read := func(i int64) error {
		if err := formats.ReadFull(data.Source, raw, data.Offset+i*size); err != nil {
			return err
		}
		if r.opt.Progress != nil {
			r.opt.Progress(size)
		}
		if err := DecodeValues(as.dtype, row, raw); err != nil {
			return err
		}
		b.Row(i, row)
		return ctx.Err()
	}
	if whole {
		for i := range as.Rows {
			if b.Needs(i) {
				if err := read(i); err != nil {
					return nil, err
				}
			}
		}
		k, _ := b.Finish()
		return k, nil
	}
	for _, i := range b.Wanted(sketch.AlignedRows) {
		if err := read(i); err != nil {
			return nil, err
		}
	}
	k, _ := b.Finish()
	k.Sum = nil // of the sample only
	return k, nil
}

// readings lists the ways to read a tensor other than the file's own.
func readings(m *formats.Model, i int, v *quant.View, shapes func(int64) []Shape) (out []reading) {
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
		elements := v.Rows * v.Cols
		if _, bits := d.Block(); d != t.DType {
			elements = t.Data.Length * 8 / bits
		}
		for _, s := range shapes(elements) {
			size, ok := d.Bytes(s.Cols)
			same := d == t.DType && s.Rows == v.Rows && s.Cols == v.Cols
			if ok && !same && quant.CanDecode(d) && size <= t.Data.Length/s.Rows && len(out) < mostShapes {
				out = append(out, reading{i, d, s})
			}
		}
	}
	return out
}
