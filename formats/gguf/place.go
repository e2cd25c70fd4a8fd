package gguf

import (
	"cmp"
	"slices"

	"weightwarden/formats"
)

// place turns the tensor list into tensors with extents. Where the header was not
// read to its end, nobody knows where the data starts: tensors without bytes.
func (p *parser) place(infos []info, whole bool) {
	start, size := p.in.Offset(), p.src.Size()
	if rest := start % p.alignment; rest != 0 {
		start += p.alignment - rest
	}
	p.model.Tensors = make([]formats.Tensor, len(infos))
	next := p.nextOffsets(infos)
	clipped := 0
	for i, t := range infos {
		out := &p.model.Tensors[i]
		out.Name = t.name
		at := int64(min(t.offset, 1<<61)) + start
		if whole && at%p.alignment != 0 {
			p.find("offset", formats.Warning, at, "tensor %.200q is not aligned to %d bytes", t.name, p.alignment)
		}
		out.Data = formats.Extent{Source: p.src, Offset: at}
		if !p.typed(out, t) {
			out.DType, out.Data.BigEndian = formats.Unknown, false
			out.Data.Length = max(0, min(next(t.offset), size-start)-int64(min(t.offset, 1<<61)))
			out.Shape = []int64{out.Data.Length}
		}
		if !whole {
			out.Data.Source, out.Data.Offset = nil, 0
		} else if out.Clip() {
			clipped++
		}
	}
	if clipped > 0 {
		p.find("truncated", formats.Unread, size, "%d of %d tensors reach behind the end of the file", clipped, len(infos))
	}
	for _, i := range formats.Duplicates(p.model.Tensors) {
		p.find("duplicate", formats.Warning, -1, "tensor %.200q stands in the list more than once", p.model.Tensors[i].Name)
	}
	if whole {
		p.gaps(start)
	}
}

// typed fills in type, shape and length; false where the type is not known or
// does not fit the shape, so that the bytes have to be taken as they are.
func (p *parser) typed(out *formats.Tensor, t info) bool {
	d, ok := formats.GGML(t.typ)
	switch {
	case !ok:
		p.find("type", formats.Warning, -1, "tensor %.200q has the unknown type %d: its bytes up to the next tensor are taken as they are", t.name, t.typ)
		return false
	case t.bad:
		p.find("shape", formats.Warning, -1, "tensor %.200q has an impossible shape: its bytes up to the next tensor are taken as they are", t.name)
		return false
	case p.big && d.IsBlock() && !knownOrder(d):
		p.find("order", formats.Warning, -1, "tensor %.200q has big-endian %s blocks: its bytes are taken as they are", t.name, d)
		return false
	}
	n, _ := formats.Elements(t.shape)
	block, _ := d.Block()
	length, ok := d.Bytes(n)
	if !ok || len(t.shape) > 0 && t.shape[len(t.shape)-1]%block != 0 {
		p.find("shape", formats.Warning, -1, "tensor %.200q: rows of %v are no whole blocks of %s", t.name, t.shape, d)
		return false
	}
	out.DType, out.Shape, out.Data.Length, out.Data.BigEndian = d, t.shape, length, p.big
	return true
}

// knownOrder reports whether big-endian blocks of d can be read.
func knownOrder(d formats.DType) bool {
	_, _, ok := d.ByteOrder()
	return ok
}

// nextOffsets returns a function that finds the next greater offset of a tensor.
// The sorted list is made when it is first asked for.
func (p *parser) nextOffsets(infos []info) func(uint64) int64 {
	var sorted []uint64
	return func(after uint64) int64 {
		if sorted == nil {
			sorted = make([]uint64, 0, len(infos))
			for _, t := range infos {
				sorted = append(sorted, t.offset)
			}
			slices.Sort(sorted)
		}
		i, _ := slices.BinarySearch(sorted, after+1)
		if after == 1<<64-1 || i == len(sorted) {
			return 1 << 61
		}
		return int64(min(sorted[i], 1<<61))
	}
}

// gaps compares the extents: llama.cpp demands that they follow each other with
// no more than padding between.
func (p *parser) gaps(start int64) {
	order := make([]int32, len(p.model.Tensors))
	for i := range order {
		order[i] = int32(i)
	}
	ts := p.model.Tensors
	byOffset := func(a, b int32) int { return cmp.Compare(ts[a].Data.Offset, ts[b].Data.Offset) }
	if !slices.IsSortedFunc(order, byOffset) {
		slices.SortFunc(order, byOffset)
	}
	end := min(start, p.src.Size())
	for _, i := range order {
		t := &ts[i]
		if t.Data.Source == nil {
			continue
		}
		switch at := t.Data.Offset; {
		case at < end && t.Data.Length > 0:
			p.find("overlap", formats.Warning, at, "tensor %.200q shares bytes with another one", t.Name)
		case at-end >= p.alignment:
			p.find("hole", formats.Warning, end, "%d bytes before tensor %.200q belong to no tensor", at-end, t.Name)
		}
		end = max(end, t.Data.Offset+t.Data.Length)
	}
	if rest := p.src.Size() - end; rest >= p.alignment {
		p.find("hole", formats.Warning, end, "%d bytes at the end belong to no tensor", rest)
	}
}
