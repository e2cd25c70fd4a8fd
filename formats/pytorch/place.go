package pytorch

import "weightwarden/formats"

// place sets the extent of a tensor inside its storage.
func place(t *formats.Tensor, st *storage, offset int64, strides []int64, n int64) error {
	elements, bits := t.DType.Block()
	t.Data = formats.Extent{Source: st.src, Offset: st.offset, BigEndian: st.bigEndian}
	if n == 0 {
		return nil
	}
	if offset < 0 {
		return formats.Errorf(id, "storage_offset", -1, formats.ErrMalformed, "negative offset %d", offset)
	}
	if t.DType == formats.Unknown || elements != 1 || bits%8 != 0 {
		return placePacked(t, st, offset, strides, n)
	}
	width := bits / 8
	low, high, ok := span(t.Shape, strides)
	have := st.length / width
	if low < 0 { // PyTorch has no negative strides
		return formats.Errorf(id, "stride", -1, formats.ErrMalformed, "negative strides %d", strides)
	}
	if !ok || offset >= have || high >= have-offset {
		return formats.Errorf(id, "storage", -1, formats.ErrTruncated, "elements %d to %d%+d of a storage of %d", offset, offset, high, have)
	}
	t.Data.Offset += offset * width
	t.Data.Length = (high + 1) * width
	if !contiguous(t.Shape, strides) {
		t.Data.Strides = strides
	}
	return nil
}

// placePacked sets the extent of a tensor whose elements are not whole bytes, or
// of unknown type: the whole storage where the tensor may be all of it.
func placePacked(t *formats.Tensor, st *storage, offset int64, strides []int64, n int64) error {
	t.Data.Length = st.length
	if want, ok := t.DType.Bytes(n); ok && offset == 0 && contiguous(t.Shape, strides) {
		if want > st.length {
			return formats.Errorf(id, "storage", -1, formats.ErrTruncated, "%d bytes of a storage of %d", want, st.length)
		}
		t.Data.Length = want
		return nil
	}
	t.DType = formats.Unknown
	return nil
}

// span returns the lowest and highest element that shape and strides reach.
func span(shape, strides []int64) (low, high int64, ok bool) {
	const most = 1 << 56
	for i, d := range shape {
		s := strides[i]
		if s > most || s < -most || (s != 0 && d-1 > most/max(s, -s)) {
			return 0, 0, false
		}
		if reach := (d - 1) * s; reach < 0 {
			low += reach
		} else {
			high += reach
		}
		if low < -most || high > most {
			return 0, 0, false
		}
	}
	return low, high, true
}

// contiguous reports whether elements follow each other in row-major order. The
// stride of an axis of length one does not matter.
func contiguous(shape, strides []int64) bool {
	want := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 && strides[i] != want {
			return false
		}
		want *= shape[i]
	}
	return true
}
