package fingerprint

import (
	"fmt"
	"slices"

	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// Frameworks order the axes of one tensor differently: filters are [out, in, h, w] for
// one and [h, w, in, out] or [out, h, w, in] for another, experts [expert, in, out] or
// [expert, out, in]. Converters move the axes, and with them every number.

// Bounds of reading tensors with their axes moved.
const (
	leastAxes, mostAxes = 3, 5
	mostHeld            = 4 << 20 // numbers of a tensor that are held in memory, to be read in any order
	mostSpread          = 64      // larger tensors of a file, of which single numbers are read
)

// axes is a view of a file with its axes in another order.
type axes struct {
	number         int // of the view
	view           quant.View
	bytes          int64           // of its tensors
	large          *formats.Tensor // what cannot be held
	shape, strides []int64         // strides in numbers of the view
}

// order is that of the axes of a tensor.
type order struct{ shape, strides []int64 }

func (a *axes) spread() bool { return a.large != nil }

func (a *axes) packing() string { return a.view.Scheme }

func (a *axes) how() string { return otherOrder }

const otherOrder = "axes in another order"

// held is the numbers of one view in memory.
type held struct {
	number int
	values []float32
}

// read gathers numbers from number at on.
func (a *axes) read(dst []float32, at int64, r *Added) error {
	if a.large != nil {
		return a.readSpread(dst, at, r)
	}
	if err := r.hold(a); err != nil {
		return err
	}
	index, off := make([]int64, len(a.shape)), int64(0)
	for k := len(index) - 1; k >= 0; k-- {
		index[k] = at % a.shape[k]
		at /= a.shape[k]
		off += index[k] * a.strides[k]
	}
	for i := range dst {
		dst[i] = r.held.values[off]
		for k := len(index) - 1; k >= 0; k-- {
			off += a.strides[k]
			if index[k]++; index[k] < a.shape[k] {
				break
			}
			off -= index[k] * a.strides[k]
			index[k] = 0
		}
	}
	return nil
}

// hold decodes a view, unless it was the last to be.
func (r *Added) hold(a *axes) error {
	if r.held.values != nil && r.held.number == a.number {
		return nil
	}
	rd, err := a.view.Reader()
	if err != nil {
		return err
	}
	r.spent += a.view.Rows * a.view.Cols
	values := slices.Grow(r.held.values[:0], int(a.view.Rows*a.view.Cols))[:a.view.Rows*a.view.Cols]
	r.held = held{}
	if err := rd.ReadRows(values, 0, a.view.Rows); err != nil {
		return err
	}
	r.held = held{a.number, values}
	r.count(a.bytes)
	return nil
}

// readSpread reads the numbers one by one from where they lie in the file.
func (a *axes) readSpread(dst []float32, at int64, r *Added) error {
	t := *a.large
	t.Shape, t.Data.Strides = a.shape, a.strides
	views := Views(&formats.Model{Tensors: []formats.Tensor{t}})
	if len(views) != 1 {
		return fmt.Errorf("%w: axes of %s", formats.ErrUnsupported, t.DType)
	}
	v := &views[0]
	rd, err := v.Reader()
	for err == nil && len(dst) > 0 && at/v.Cols < v.Rows {
		n := min(int64(len(dst)), v.Cols-at%v.Cols)
		err = rd.ReadPart(dst[:n], at/v.Cols, at%v.Cols)
		dst, at = dst[n:], at+n
		r.count(n * 4)
	}
	return err
}

// orders lists the shapes and strides of a tensor with its axes in other orders: three
// groups of axes that lie beside each other, such as those of a filter's height and
// width, change places. Axes of length one do not count.
func orders(shape []int64) (out []order) {
	var long, strides []int64
	step := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 {
			long, strides = append(long, shape[i]), append(strides, step)
		}
		step *= shape[i]
	}
	slices.Reverse(long)
	slices.Reverse(strides)
	n := len(long)
	if n < leastAxes || n > mostAxes {
		return nil
	}
	for wide := range 3 { // which group has the axes that are more than three
		ends := []int{0, 1, 2, n}
		for g := wide + 1; g < 3; g++ {
			ends[g] = g + n - 3
		}
		for _, p := range [][3]int{{2, 0, 1}, {0, 2, 1}, {2, 1, 0}, {1, 0, 2}, {1, 2, 0}} {
			var a order
			for _, g := range p {
				a.shape = append(a.shape, long[ends[g]:ends[g+1]]...)
				a.strides = append(a.strides, strides[ends[g]:ends[g+1]]...)
			}
			if !slices.ContainsFunc(out, func(b order) bool { return slices.Equal(a.strides, b.strides) }) {
				out = append(out, a)
			}
		}
	}
	return out
}

// newAxes reads a view, whose number it is, in another shape and order; nil where that cannot
// be done.
func newAxes(m *formats.Model, number int, v *quant.View, shape, strides []int64) *axes {
	a := &axes{number: number, view: *v, shape: shape, strides: strides}
	for _, t := range v.Tensors {
		a.bytes += m.Tensors[t].Data.Length
	}
	if v.Rows*v.Cols > mostHeld {
		a.large = &m.Tensors[v.Tensors[0]]
		if v.Scheme != quant.Plain || a.large.Data.Strides != nil || quant.Numbers(v.DType) != 1 {
			return nil
		}
	}
	return a
}

// moved lists the ways to read a view with its axes moved that give a registered shape.
func moved(m *formats.Model, number int, v *quant.View, shapes func(int64) []Shape) (out []reading) {
	n := v.Rows * v.Cols
	known := shapes(n)
	if total, ok := formats.Elements(v.Shape); !ok || total != n || len(known) == 0 || n < leastReshaped {
		return nil
	}
	member := m.Tensors[v.Tensors[0]].Member
	if v.Rows == 1 {
		return flattened(m, number, v, known)
	}
	for _, o := range orders(v.Shape) {
		a := newAxes(m, number, v, o.shape, o.strides)
		if a == nil {
			return nil
		}
		rows := int64(1)
		for _, d := range a.shape[:len(a.shape)-1] {
			rows *= d
			s := Shape{rows, n / rows}
			if slices.Contains(known, s) && len(out) < mostShapes {
				out = append(out, reading{run: run{name: v.Name, member: member, dtype: v.DType, elements: n}, other: a, Shape: s})
			}
		}
	}
	return out
}

// flattened lists the ways to read a tensor of one axis as a matrix that was transposed first.
func flattened(m *formats.Model, number int, v *quant.View, known []Shape) (out []reading) {
	for _, s := range known {
		if !rowsFit(s.Rows, s.Cols) || len(out) == mostShapes {
			continue
		}
		if a := newAxes(m, number, v, []int64{s.Rows, s.Cols}, []int64{1, s.Rows}); a != nil {
			r := run{name: v.Name, member: m.Tensors[v.Tensors[0]].Member, dtype: v.DType, elements: s.Rows * s.Cols}
			out = append(out, reading{run: r, other: a, Shape: s})
		}
	}
	return out
}
