package fingerprint

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// Some store the experts of a layer one by one, others in one tensor with an axis more,
// and some with rows and columns changed.

// Bounds of looking for them.
const (
	mostStacked = 4096    // tensors that one may have been split into
	mostNamed   = 1 << 16 // tensors whose names are looked at
	mostNumbers = 4       // in a name
)

// stack is matrices of one shape, one behind another, from a row of the first on.
type stack struct {
	parts []numbers
	Shape // of a part
	first int64
}

func (s *stack) spread() bool { return s.parts[0].spread() }

func (s *stack) packing() string { return s.parts[0].packing() }

func (s *stack) how() string { return otherOrder }

// read decodes numbers of one row.
func (s *stack) read(dst []float32, at int64, r *Added) error {
	row := s.first + at/s.Cols
	k := row / s.Rows
	if k >= int64(len(s.parts)) {
		return fmt.Errorf("row %d of %d matrices of %d x %d", row, len(s.parts), s.Rows, s.Cols)
	}
	return s.parts[k].read(dst, row%s.Rows*s.Cols+at%s.Cols, r)
}

// viewRows is a view as the file has it.
type viewRows struct {
	view  *quant.View
	bytes int64 // of a row, about
}

func (v *viewRows) spread() bool { return false }

func (v *viewRows) packing() string { return v.view.Scheme }

func (v *viewRows) how() string { return otherOrder }

// read decodes numbers of one row.
func (v *viewRows) read(dst []float32, at int64, r *Added) error {
	if r.reader == nil || r.readerOf != v.view {
		rd, err := v.view.Reader()
		if err != nil {
			return err
		}
		r.reader, r.readerOf = rd, v.view
	}
	r.count(v.bytes)
	return r.reader.ReadPart(dst, at/v.view.Cols, at%v.view.Cols)
}

func newViewRows(m *formats.Model, v *quant.View) *viewRows {
	out := &viewRows{view: v}
	for _, t := range v.Tensors {
		out.bytes += m.Tensors[t].Data.Length / v.Rows
	}
	return out
}

// slicesOf lists the slices of tensors with three axes that, transposed, have the shape of
// a registered matrix.
func slicesOf(m *formats.Model, views []quant.View, shapes func(int64) []Shape) (out []reading) {
	for i := range views {
		v := &views[i]
		shape := slices.DeleteFunc(slices.Clone(v.Shape), func(d int64) bool { return d == 1 })
		if len(shape) != 3 || v.Cols != shape[2] || v.Rows != shape[0]*shape[1] || !slices.Contains(shapes(shape[1]*shape[2]), Shape{shape[2], shape[1]}) {
			continue
		}
		for n := range min(shape[0], mostStacked-int64(len(out))) {
			s := &stack{parts: []numbers{newViewRows(m, v)}, Shape: Shape{v.Rows, v.Cols}, first: n * shape[1]}
			r := run{name: fmt.Sprintf("%s[%d]", v.Name, n), member: m.Tensors[v.Tensors[0]].Member, dtype: v.DType, elements: shape[1] * shape[2]}
			out = append(out, reading{run: r, other: s, of: []int{i}, Shape: Shape{shape[1], shape[2]}, columns: true})
		}
	}
	return out
}

var digits = regexp.MustCompile("[0-9]+")

// numbered is a view whose name has a number where those of others have another one.
type numbered struct {
	digits string // without leading zeros
	number int    // of the view
	view   *quant.View
}

// family is what the names of such tensors have in common, and their shape.
type family struct {
	before, after string
	Shape
}

// stacks lists the matrices that tensors of one shape would be together, as they are or each
// transposed, in the order of one of the numbers in their names, where a registered matrix
// has that shape.
func stacks(m *formats.Model, views []quant.View, shapes func(int64) []Shape) (out []reading) {
	for _, group := range families(views) {
		n, v := int64(len(group)), group[0].view
		if n < 2 || n > mostStacked {
			continue
		}
		known := shapes(n * v.Rows * v.Cols)
		for _, transposed := range []bool{false, true} {
			part := Shape{v.Rows, v.Cols}
			if transposed {
				part = Shape{v.Cols, v.Rows}
			}
			s := Shape{n * part.Rows, part.Cols}
			if !rowsFit(s.Rows, s.Cols) || !slices.Contains(known, s) {
				continue
			}
			if together := newStack(m, group, part, transposed); together != nil {
				r := run{name: v.Name + " and others", member: m.Tensors[v.Tensors[0]].Member, dtype: v.DType, elements: s.Rows * s.Cols}
				of := make([]int, len(group))
				for i := range group {
					of[i] = group[i].number
				}
				out = append(out, reading{run: r, other: together, of: of, Shape: s})
			}
		}
	}
	return out
}

// newStack puts views of one shape one behind another; nil where they cannot be read so.
func newStack(m *formats.Model, group []numbered, part Shape, transposed bool) *stack {
	s := &stack{Shape: part}
	for _, x := range group {
		if !transposed {
			s.parts = append(s.parts, newViewRows(m, x.view))
			continue
		}
		a := newAxes(m, x.number, x.view, []int64{part.Rows, part.Cols}, []int64{1, part.Rows})
		if a == nil {
			return nil
		}
		s.parts = append(s.parts, a)
	}
	return s
}

// families groups views by their names and shapes, in the order of the number in which
// the names differ.
func families(views []quant.View) (out [][]numbered) {
	groups := make(map[family][]numbered)
	var order []family
	for i := range views[:min(len(views), mostNamed)] {
		v := &views[i]
		for _, at := range digits.FindAllStringIndex(v.Name, mostNumbers) {
			f := family{v.Name[:at[0]], v.Name[at[1]:], Shape{v.Rows, v.Cols}}
			if groups[f] == nil {
				order = append(order, f)
			}
			groups[f] = append(groups[f], numbered{strings.TrimLeft(v.Name[at[0]:at[1]], "0"), i, v})
		}
	}
	for _, f := range order {
		slices.SortStableFunc(groups[f], func(a, b numbered) int {
			return cmp.Or(cmp.Compare(len(a.digits), len(b.digits)), cmp.Compare(a.digits, b.digits))
		})
		out = append(out, groups[f])
	}
	return out
}
