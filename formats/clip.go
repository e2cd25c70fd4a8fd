package formats

// Clip makes the extent of t fit its Source and reports whether it had to. A
// tensor that lies wholly behind the end loses its Source; one that is cut keeps
// the bytes that are there, as opaque ones, since they can still be matched in
// part. Extents with Strides are left alone: Reader checks them.
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
	e.Length = size - e.Offset
	t.DType, t.Shape, e.BigEndian = Unknown, []int64{e.Length}, false
	return true
}
