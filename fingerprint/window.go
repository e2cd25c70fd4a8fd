package fingerprint

import (
	"fmt"

	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// Matrices are padded along their rows, or several are put side by side.

const mostWindows = 16 // for one tensor and one width

// window is some columns of a view.
type window struct {
	*viewRows
	first, cols int64
}

// read decodes numbers of one row of the window.
func (w *window) read(dst []float32, at int64, r *Added) error {
	return w.viewRows.read(dst, at/w.cols*w.view.Cols+w.first+at%w.cols, r)
}

func (w *window) how() string {
	return fmt.Sprintf("in columns %d-%d of a wider tensor", w.first, w.first+w.cols-1)
}

// windows lists the columns of a view that may be a registered matrix of as many rows: the first ones, the last, and those
// behind others of that width. high knows the shapes of registered matrices by their rows.
func windows(m *formats.Model, number int, v *quant.View, high func(rows int64) []Shape) (out []reading) {
	for _, s := range high(v.Rows) {
		if s.Cols >= v.Cols || !rowsFit(s.Rows, s.Cols) {
			continue
		}
		firsts := []int64{v.Cols - s.Cols}
		for at := int64(0); at < v.Cols-s.Cols && len(firsts) < mostWindows; at += s.Cols {
			firsts = append(firsts, at)
		}
		for _, first := range firsts {
			if len(out) == mostShapes*mostWindows {
				return out
			}
			r := run{name: v.Name, member: m.Tensors[v.Tensors[0]].Member, dtype: v.DType, elements: s.Rows * s.Cols}
			out = append(out, reading{run: r, other: &window{newViewRows(m, v), first, s.Cols}, of: []int{number}, Shape: s})
		}
	}
	return out
}
