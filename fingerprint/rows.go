package fingerprint

import (
	"fmt"
	"slices"

	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// rowBatch is how many floats are decoded at a time: 16 KiB, which stay in a core's first-level cache while they are
// sketched.
const rowBatch = 1 << 12

// rowFeed cuts the bytes of a piece into rows, decodes and sketches them.
type rowFeed struct {
	w        *worker
	view     int
	builder  *sketch.Builder
	dtype    formats.DType
	cols     int64
	rows     int64
	rowBytes int
	at       int64 // next row
	whole    bool  // sketch every row
	fail     error
}

func (w *worker) newRowFeed(view int) *rowFeed {
	v := &w.views[view]
	b, ok := w.maker.NewBuilder(v.Rows, v.Cols, w.whole(view), &w.room)
	if !ok {
		return nil
	}
	n, _ := v.DType.Bytes(v.Cols / quant.Numbers(v.DType))
	w.carry = w.carry[:0]
	return &rowFeed{w: w, view: view, builder: b, dtype: v.DType, cols: v.Cols, rows: v.Rows, rowBytes: int(n), whole: w.whole(view)}
}

// feed takes the next bytes in. Rows that straddle blocks are put together in
// the worker's carry buffer.
func (r *rowFeed) feed(block []byte) error {
	if r.fail != nil {
		return nil
	}
	if len(r.w.carry) > 0 {
		n := min(len(block), r.rowBytes-len(r.w.carry))
		r.w.carry = append(r.w.carry, block[:n]...)
		block = block[n:]
		if len(r.w.carry) < r.rowBytes {
			return nil
		}
		r.decode(r.w.carry)
		r.w.carry = r.w.carry[:0]
	}
	whole := len(block) / r.rowBytes * r.rowBytes
	r.decode(block[:whole])
	r.w.carry = append(r.w.carry, block[whole:]...)
	return nil
}

// decode sketches whole rows, those that matter or a batch at a time so that they
// stay in the cache.
func (r *rowFeed) decode(raw []byte) {
	if !r.whole {
		r.decodeNeeded(raw)
		return
	}
	batch := max(1, rowBatch/int(r.cols))
	r.w.floats = slices.Grow(r.w.floats[:0], batch*int(r.cols))
	for len(raw) > 0 && r.fail == nil {
		n := min(batch, len(raw)/r.rowBytes)
		floats := r.w.floats[:n*int(r.cols)]
		if r.fail = DecodeValues(r.dtype, floats, raw[:n*r.rowBytes]); r.fail != nil {
			return
		}
		for i := range n {
			r.builder.Row(r.at, floats[i*int(r.cols):(i+1)*int(r.cols)])
			r.at++
		}
		raw = raw[n*r.rowBytes:]
	}
}

// decodeNeeded sketches the rows without which the sketch has a hole.
func (r *rowFeed) decodeNeeded(raw []byte) {
	r.w.floats = slices.Grow(r.w.floats[:0], int(r.cols))
	row := r.w.floats[:r.cols]
	for ; len(raw) > 0 && r.fail == nil; raw = raw[r.rowBytes:] {
		if r.builder.Needs(r.at) {
			if r.fail = DecodeValues(r.dtype, row, raw[:r.rowBytes]); r.fail == nil {
				r.builder.Row(r.at, row)
			}
		}
		r.at++
	}
}

// finish stores the sketch if every row came by.
func (r *rowFeed) finish(length int64) {
	if r.fail != nil || r.at != r.rows {
		r.w.note(0, fmt.Sprintf("tensor %.100q has no sketch: %d of %d rows were read", r.w.views[r.view].Name, r.at, r.rows))
		return
	}
	r.w.keepSketch(r.view, r.builder)
}

// sketchView reads the rows of a view through its own reader: packed families,
// strided tensors, and the sampled rows of a quick look.
func (w *worker) sketchView(view int) {
	v := &w.views[view]
	b, ok := w.maker.NewBuilder(v.Rows, v.Cols, !w.opt.Quick, &w.room)
	if !ok {
		return
	}
	all := w.allRows
	if w.opt.Quick {
		all = w.quickRows
	}
	err := all(view, b)
	if err != nil {
		if w.ctx.Err() == nil {
			w.note(0, fmt.Sprintf("tensor %.100q has no sketch: %v", v.Name, err))
		}
		return
	}
	w.keepSketch(view, b)
}

// keepSketch stores the sketch of a view. Once there are so many that foldSums will fold them all, it is folded here:
// thousands of unfolded sums would be much of the memory of the process.
func (w *worker) keepSketch(view int, b *sketch.Builder) {
	t := &w.out.Tensors[view]
	t.Sketch, t.Constant = b.Finish()
	if t.Sketch != nil && w.opt.Quick {
		t.Sketch.Sum = nil // of the sample only
	}
	// At registration findTables may take sketches away again.
	if t.Sketch != nil && w.sketched.Add(1) > manyTensors && !w.opt.Register && t.Sketch.Groups == 4 {
		t.Sketch.Fold()
	}
}

func (w *worker) allRows(view int, b *sketch.Builder) error {
	v := &w.views[view]
	r, err := v.Reader()
	if err != nil {
		return err
	}
	batch := max(1, rowBatch/v.Cols)
	w.floats = slices.Grow(w.floats[:0], int(batch*v.Cols))
	for at := int64(0); at < v.Rows; {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		n := min(batch, v.Rows-at)
		floats := w.floats[:n*v.Cols]
		if err := r.ReadRows(floats, at, n); err != nil {
			return err
		}
		for i := range n {
			b.Row(at+i, floats[i*v.Cols:(i+1)*v.Cols])
		}
		at += n
	}
	return nil
}

// quickRows reads rows of the aligned sample only. Matrices whose rows are too
// short are read whole: they are small.
func (w *worker) quickRows(view int, b *sketch.Builder) error {
	v := &w.views[view]
	wanted := b.Wanted(w.sampleRows)
	if wanted == nil {
		return w.allRows(view, b)
	}
	rowBytes := v.Cols
	if n, ok := v.DType.Bytes(v.Cols); ok {
		rowBytes = n
	}
	read, err := w.rowReader(v, rowBytes)
	if err != nil {
		return err
	}
	w.floats = slices.Grow(w.floats[:0], int(v.Cols))
	for _, i := range wanted {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := read(w.floats[:v.Cols], i); err != nil {
			return err
		}
		b.Row(i, w.floats[:v.Cols])
		w.count(rowBytes)
	}
	return nil
}

// rowReader returns what reads row i of a view.
func (w *worker) rowReader(v *quant.View, rowBytes int64) (func(row []float32, i int64) error, error) {
	if p := w.streamPiece(v); p >= 0 && !w.layout.pieces[p].logical {
		return w.rawRows(v, p, rowBytes), nil
	}
	r, err := v.Reader()
	if err != nil {
		return nil, err
	}
	return func(row []float32, i int64) error { return r.ReadRows(row, i, 1) }, nil
}

// rawRows returns a reader of rows that lie one after the other in piece p, by way
// of the vector kernels.
func (w *worker) rawRows(v *quant.View, p int, rowBytes int64) func(row []float32, i int64) error {
	piece := &w.layout.pieces[p]
	f := &w.layout.files[piece.File]
	w.carry = slices.Grow(w.carry[:0], int(rowBytes))
	raw := w.carry[:rowBytes]
	return func(row []float32, i int64) error {
		if err := formats.ReadFull(f.source, raw, piece.Offset-f.offset+i*rowBytes); err != nil {
			return err
		}
		return DecodeValues(v.DType, row, raw)
	}
}

// A quick look reads at most this part of the file, or the floor if that is more,
// and never more than the ceiling; but always minSample rows of each matrix.
const (
	quickShare   = 192
	quickFloor   = 16 << 20
	quickCeiling = 384 << 20
	minSample    = 16
)

// quickSample returns how many rows of each matrix a quick look reads.
func (c *computer) quickSample() int {
	all := int64(0) // bytes of whole samples
	for i := range c.views {
		v := &c.views[i]
		if n, ok := v.DType.Bytes(v.Cols); ok {
			all += n * min(v.Rows, sketch.AlignedRows)
		}
	}
	budget := min(max(c.out.Size/quickShare, quickFloor), quickCeiling)
	if all <= budget {
		return sketch.AlignedRows
	}
	return max(minSample, int(float64(budget)/float64(all)*sketch.AlignedRows))
}
