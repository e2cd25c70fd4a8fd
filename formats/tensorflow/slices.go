package tensorflow

import (
	"cmp"
	"errors"
	"io"
	"slices"

	"weightwarden/formats"
)

// cut is the place of a slice in the variable that it is a part of.
type cut struct {
	start, length []int64
}

// extent is one axis of a TensorSliceProto: the whole of it where it has no length.
type extent struct {
	start, length int64
	part          bool
}

// of returns the slice of a variable of the given shape; false where it lies
// outside.
func cutOf(extents []extent, shape []int64) (c cut, ok bool) {
	if len(extents) != len(shape) {
		return c, false
	}
	for i, e := range extents {
		if !e.part {
			e = extent{0, shape[i], true}
		}
		if e.start < 0 || e.length < 0 || e.start > shape[i] || e.length > shape[i]-e.start {
			return c, false
		}
		c.start, c.length = append(c.start, e.start), append(c.length, e.length)
	}
	return c, true
}

// piece is a tensor that is a slice of a variable.
type piece struct {
	tensor int // in the Model
	cut
}

// assemble makes one tensor of the slices of a variable, in place of the first of
// them; the others are listed in gone. Slices along more than one axis, ones that
// leave holes and ones of other types stay what they are.
func assemble(tensors []formats.Tensor, shape []int64, pieces []piece, gone map[int]bool) bool {
	axis, ok := cutAxis(shape, pieces)
	if !ok {
		return false
	}
	slices.SortStableFunc(pieces, func(a, b piece) int { return cmp.Compare(a.start[axis], b.start[axis]) })
	first := tensors[pieces[0].tensor]
	_, bits := first.DType.Block()
	w := &woven{inner: bits / 8}
	for _, d := range shape[axis+1:] {
		w.inner *= d
	}
	at := int64(0)
	for _, p := range pieces {
		t := &tensors[p.tensor]
		need, fits := t.DType.StoredBytes(t.Elements())
		if p.start[axis] != at || t.DType != first.DType || t.Data.Source == nil || !fits || need != t.Data.Length ||
			t.Data.BigEndian != first.Data.BigEndian || !slices.Equal(t.Shape, p.length) || bits < 8 {
			return false
		}
		at += p.length[axis]
		w.parts, w.ends = append(w.parts, t.Data), append(w.ends, at)
	}
	if at != shape[axis] {
		return false
	}
	for _, p := range pieces[1:] {
		gone[p.tensor] = true
	}
	n, _ := formats.Elements(shape)
	w.size, _ = first.DType.Bytes(n)
	t := &tensors[pieces[0].tensor]
	t.Shape, t.Data = slices.Clone(shape), formats.Extent{Source: w, Length: w.size, BigEndian: first.Data.BigEndian}
	return true
}

// cutAxis is the one axis along which a variable is cut.
func cutAxis(shape []int64, pieces []piece) (axis int, ok bool) {
	if n, ok := formats.Elements(shape); !ok || n == 0 || len(pieces) < 2 {
		return 0, false
	}
	for i := range shape {
		for _, p := range pieces {
			if p.length[i] != shape[i] {
				if ok && axis != i {
					return 0, false
				}
				axis, ok = i, true
			}
		}
	}
	return axis, ok
}

// woven is the Source of a variable whose slices follow each other along one axis.
type woven struct {
	parts []formats.Extent
	ends  []int64 // on the axis
	inner int64   // bytes of one index of the axis
	size  int64
}

// Size implements formats.Source.
func (w *woven) Size() int64 { return w.size }

// ReadAt implements io.ReaderAt.
func (w *woven) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	length := w.ends[len(w.ends)-1]
	done := 0
	for done < len(p) {
		at := off + int64(done)
		if at >= w.size {
			return done, io.EOF
		}
		outer, rest := at/(length*w.inner), at%(length*w.inner)
		i, found := slices.BinarySearch(w.ends, rest/w.inner)
		for found && i < len(w.ends) && w.ends[i] <= rest/w.inner {
			i++ // the end of a slice is the start of the next that has any
		}
		start := int64(0)
		if i > 0 {
			start = w.ends[i-1]
		}
		n := int(min(int64(len(p)-done), w.ends[i]*w.inner-rest))
		from := outer*(w.ends[i]-start)*w.inner + rest - start*w.inner
		if err := formats.ReadFull(w.parts[i].Source, p[done:done+n], w.parts[i].Offset+from); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// drop removes the tensors that a variable was assembled of.
func drop(m *formats.Model, gone map[int]bool) {
	i := -1
	m.Tensors = slices.DeleteFunc(m.Tensors, func(formats.Tensor) bool { i++; return gone[i] })
}
