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
		if len(v.Tensors) > 1 && w.ctx.Err() == nil {
			w.plainCompanions(v)
		}
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

// mostLevels is the size of the largest table of levels that comes with quantised weights.
const mostLevels = 256

// plainCompanions takes from evidence what lies beside the codes of a packed matrix and is the same in every
// model of that shape: which group a column belongs to (GPTQ), the levels that codes stand for (bitsandbytes).
func (w *worker) plainCompanions(v *quant.View) {
	for _, k := range v.Tensors {
		t, p := &w.model.Tensors[k], w.layout.tensorPiece[k]
		if p < 0 || w.layout.pieces[p].logical {
			continue
		}
		if n := t.Elements(); n > mostLevels && !w.isIndexed(t) {
			continue
		}
		piece := &w.layout.pieces[p].Piece
		for i := range piece.Chunks {
			piece.Chunks[i].size |= 1
		}
	}
}

// isIndexed reports whether windows of a tensor of 32 or 64 bits hold nothing but small whole numbers.
// Packed codes of these types have numbers over the whole range.
func (w *worker) isIndexed(t *formats.Tensor) bool {
	if !isIndex(t.DType) && !isCount(t.DType) {
		return false
	}
	n := t.Elements()
	length := min(n, longestWindow)
	size, ok := t.DType.Bytes(length)
	if !ok || length == 0 {
		return false
	}
	raw, values := make([]byte, size), make([]float32, length)
	for i := range int64(tableWindows) {
		at, _ := t.DType.Bytes(i * (n - length) / (tableWindows - 1))
		if formats.ReadFull(t.Data.Source, raw, t.Data.Offset+at) != nil || DecodeValues(t.DType, values, raw) != nil || !inRange(values) {
			return false
		}
	}
	return true
}
