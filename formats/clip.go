package formats

// Clip makes the extent of t fit its Source and reports whether it had to. A
// tensor that lies wholly behind the end loses its Source. One that is cut keeps
// the rows along its first axis that are whole, so that they can be judged like
// any other; where there is none, the bytes that are there, as opaque ones. Extents with Strides are left alone: Reader checks them.
func (t *Tensor) Clip() bool {
	e := &t.Data
	if e.Source == nil || e.Strides != nil {
		return false
	}
	size := e.Source.Size()
	if e.Offset >= 0 && e.Length >= 0 && e.Offset <= size && e.Length <= size-e.Offset {
		return false
	}
	if e.Offset < 0 || e.Length < 0 || e.Offset >= size {
		e.Source = nil
		e.Offset, e.Length = max(e.Offset, 0), max(e.Length, 0)
		return true
	}
	if t.clipRows(size - e.Offset) {
		return true
	}
	e.Length = size - e.Offset
	t.DType, t.Shape, e.BigEndian = Unknown, []int64{e.Length}, false
	return true
}

// clipRows cuts the first axis to what have bytes hold; false where that is not
// one row of several.
func (t *Tensor) clipRows(have int64) bool {
	if len(t.Shape) < 2 || t.Shape[0] <= 0 {
		return false
	}
	elements, ok := Elements(t.Shape[1:])
	if !ok {
		return false
	}
	row, ok := t.DType.Bytes(elements)
	if !ok || row <= 0 || have < row || have/row >= t.Shape[0] {
		return false
	}
	t.Shape = append([]int64{have / row}, t.Shape[1:]...)
	t.Data.Length = have / row * row
	return true
}
