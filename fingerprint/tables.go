package fingerprint

import (
	"fmt"

	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// Windows of a vector that are tested for a formula.
const (
	tableWindows  = 16
	leastWindow   = 64
	longestWindow = 256
	largestIndex  = 1 << 20
)

// findTables finds the registered vectors, and matrices too narrow for a sketch,
// that a formula makes, and indices: position ids, windows, relative positions.
// Libraries put the same ones into every model.
func (w *worker) findTables() {
	for view := range w.views {
		v, t := &w.views[view], &w.out.Tensors[view]
		if t.Sketch != nil && !isIndex(v.DType) || t.Constant != "" || w.ctx.Err() != nil {
			continue
		}
		is, err := w.isTable(v)
		if err != nil {
			w.note(0, fmt.Sprintf("tensor %.100q was not tested for a formula: %v", v.Name, err))
		}
		if is {
			t.Constant = "formula"
		}
	}
}

// isTable reads windows of a view, evenly spread over it.
func (w *worker) isTable(v *quant.View) (bool, error) {
	p, n := w.streamPiece(v), v.Rows*v.Cols
	length := min(max(n/tableWindows, leastWindow), longestWindow)
	size, whole := v.DType.Bytes(length)
	if p < 0 || w.layout.pieces[p].logical || v.Scheme != quant.Plain || !whole || n < 4*length {
		return false, nil
	}
	read := w.rawRows(v, p, size)
	count := n / length
	var test sketch.Formula
	indices := isIndex(v.DType) || isCount(v.DType)
	values := make([]float32, length)
	for i := range min(count, tableWindows) {
		if err := read(values, i*(count-1)/(min(count, tableWindows)-1)); err != nil {
			return false, err
		}
		indices = indices && inRange(values)
		test.Add(values)
	}
	return indices || test.Holds(), nil
}

// isIndex reports whether a type is that of indices: no weights come in 64 bits.
func isIndex(d formats.DType) bool { return d == formats.I64 || d == formats.U64 }

// isCount reports whether a vector of a type may be one of counts or indices. Packed
// weights of such types have values over the whole range.
func isCount(d formats.DType) bool { return d == formats.I32 || d == formats.U32 }

func inRange(values []float32) bool {
	for _, v := range values {
		if !(v >= -largestIndex && v <= largestIndex) {
			return false
		}
	}
	return true
}
