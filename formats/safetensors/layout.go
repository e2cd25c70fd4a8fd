package safetensors

import (
	"cmp"
	"slices"

	"weightwarden/formats"
)

// add makes a tensor of an entry with a sane extent. Where the dtype and shape do
// not explain the extent, its bytes are taken as opaque ones.
func (h *header) add(name string, at int64, e raw) {
	t := formats.Tensor{Name: name, DType: formats.Unknown}
	length := e.end - e.begin
	if n, ok := formats.Elements(h.shape); ok && e.known && e.bad == "" {
		if bytes, ok := h.dtype.Bytes(n); ok && bytes == length {
			t.DType = h.dtype
		} else {
			e.bad = "dtype and shape need another size"
		}
	} else if e.bad == "" && !ok {
		e.bad = "the shape overflows"
	}
	if e.bad != "" {
		h.find("size", formats.Warning, at, "tensor %.200q of %d bytes is taken as opaque: %s", name, length, e.bad)
		t.Shape = h.keepShape([]int64{length})
	} else {
		t.Shape = h.keepShape(h.shape)
	}
	t.Data = formats.Extent{Source: h.src, Length: length}
	if off := h.base + uint64(e.begin); off <= 1<<62 {
		t.Data.Offset = int64(off)
	} else {
		t.Data.Offset = 1 << 62
	}
	h.model.Tensors = append(h.model.Tensors, t)
}

// keepShape copies a shape to where many shapes share one allocation.
func (h *header) keepShape(s []int64) []int64 {
	if len(h.dims)+len(s) > cap(h.dims) {
		h.dims = make([]int64, 0, max(len(s), min(4096, 4*cap(h.dims)+16)))
	}
	at := len(h.dims)
	h.dims = append(h.dims, s...)
	return h.dims[at:len(h.dims):len(h.dims)]
}

// finish orders the tensors by offset and reports what is odd about the whole.
// Only a header that was read to its end says anything about holes.
func (h *header) finish(whole bool) {
	byOffset := func(a, b formats.Tensor) int {
		return cmp.Or(cmp.Compare(a.Data.Offset, b.Data.Offset), cmp.Compare(a.Data.Length, b.Data.Length))
	}
	ts := h.model.Tensors
	if !slices.IsSortedFunc(ts, byOffset) {
		slices.SortStableFunc(ts, byOffset)
	}
	for _, i := range formats.Duplicates(ts) {
		h.find("duplicate", formats.Warning, ts[i].Data.Offset, "tensor %.200q stands in the header more than once", ts[i].Name)
	}
	h.holes(whole)
	for i := range ts {
		if ts[i].Clip() {
			h.clips++
		}
	}
	if h.clips > 0 {
		h.find("truncated", formats.Unread, h.src.Size(), "%d of %d tensors reach behind the end of the file", h.clips, len(ts))
	}
	if h.over > 0 {
		h.find("limit", formats.Unread, -1, "%d tensors over the limit of %d were not read", h.over, h.limits.Tensors)
	}
	if h.extra > 0 {
		h.find("key", formats.Info, -1, "%d keys that the specification does not have", h.extra)
	}
	if h.cutKey > 0 {
		h.find("name", formats.Warning, -1, "%d names were cut to %d bytes", h.cutKey, h.limits.NameBytes)
	}
	if h.in.BadText > 0 {
		h.find("text", formats.Warning, -1, "%d strings are no valid UTF-8: other readers may see other names", h.in.BadText)
	}
}

// holes compares the extents with each other: the reference demands that they
// cover the file without gap or overlap.
func (h *header) holes(whole bool) {
	end, size := int64(min(h.base, 1<<62)), h.src.Size()
	for i := range h.model.Tensors {
		t := &h.model.Tensors[i]
		switch at := t.Data.Offset; {
		case at < end && t.Data.Length > 0:
			h.find("overlap", formats.Warning, at, "tensor %.200q shares bytes with another one", t.Name)
		case at > end && whole:
			h.find("hole", formats.Warning, end, "%d bytes before tensor %.200q belong to no tensor", at-end, t.Name)
		}
		if t.Data.Length > 1<<62-t.Data.Offset {
			end = 1 << 62
		} else {
			end = max(end, t.Data.Offset+t.Data.Length)
		}
	}
	if whole && end < size {
		h.find("hole", formats.Warning, end, "%d bytes at the end belong to no tensor", size-end)
	}
}
