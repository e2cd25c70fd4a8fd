package hdf5

import (
	"fmt"

	"weightwarden/formats"
	"weightwarden/formats/internal/tiles"
)

// list makes a tensor of a data set.
func (p *parser) list(d *dataset) error {
	if len(p.model.Tensors) >= p.limits.Tensors {
		return fmt.Errorf("%w: over %d data sets", formats.ErrLimit, p.limits.Tensors)
	}
	n, ok := formats.Elements(d.shape)
	if d.null || ok && n == 0 {
		return nil
	}
	if !ok || d.element <= 0 || n > (1<<60)/d.element {
		return fmt.Errorf("%w: data set %.200q of shape %v with elements of %d bytes", formats.ErrMalformed, d.name, d.shape, d.element)
	}
	t := formats.Tensor{Name: d.name, DType: d.dtype, Shape: d.shape,
		Data: formats.Extent{Source: p.src, Offset: d.at, Length: n * d.element, BigEndian: d.big && d.element > 1}}
	if need, ok := d.dtype.Bytes(n); !ok || need != t.Data.Length {
		p.opaque(&t)
	}
	switch {
	case d.external:
		t.Data = formats.Extent{Length: t.Data.Length}
	case d.kind == virtual:
		p.find("virtual", formats.Danger, "data set %.200q is put together from other files, which are not followed", d.name)
		t.Data = formats.Extent{Length: t.Data.Length}
	case d.kind == chunked:
		if err := p.chunked(d, &t); err != nil {
			p.find("chunks", formats.Unread, "data set %.200q was not read: %v", d.name, err)
			t.Data = formats.Extent{Length: t.Data.Length}
		}
	case d.at < 0:
		p.find("empty", formats.Info, "data set %.200q was never written", d.name)
		return nil
	case d.size >= 0 && d.size < t.Data.Length:
		p.find("size", formats.Warning, "data set %.200q of shape %v needs %d bytes and has %d", d.name, d.shape, t.Data.Length, d.size)
		t.Data.Length = d.size
		p.opaque(&t)
	}
	if t.Clip() {
		p.clipped++
	}
	p.model.Tensors = append(p.model.Tensors, t)
	return nil
}

// opaque takes a tensor's bytes as they are.
func (p *parser) opaque(t *formats.Tensor) {
	t.DType, t.Shape, t.Data.BigEndian = formats.Unknown, []int64{t.Data.Length}, false
}

// chunked makes the Source of a data set in chunks.
func (p *parser) chunked(d *dataset, t *formats.Tensor) error {
	if len(d.chunk) != len(d.shape) {
		return fmt.Errorf("%w: chunks of %d dimensions for a shape of %d", formats.ErrMalformed, len(d.chunk), len(d.shape))
	}
	s, ok := tiles.New(d.shape, d.chunk, d.element)
	if !ok {
		return fmt.Errorf("%w: chunks of %v", formats.ErrMalformed, d.chunk)
	}
	for _, f := range d.filters {
		if !f.known() {
			return fmt.Errorf("%w: filter %d", formats.ErrUnsupported, f.id)
		}
	}
	if len(d.filters) > 0 && s.ChunkBytes > tiles.MaxChunk {
		return fmt.Errorf("%w: compressed chunks of %d bytes", formats.ErrLimit, s.ChunkBytes)
	}
	stored, err := p.chunks(d, s)
	if err != nil {
		return err
	}
	if err := s.Order(); err != nil {
		return err
	}
	// A shape may claim far more than the chunks can hold; the rest reads as zeros.
	ratio := int64(1)
	if len(d.filters) > 0 {
		ratio = p.limits.InflateRatio
	}
	if most := stored*ratio + 1<<20; s.Size() > most && (len(d.filters) == 0 || s.Size()/ratio > stored) {
		return fmt.Errorf("%w: a shape of %d bytes over chunks of %d", formats.ErrLimit, s.Size(), stored)
	}
	if len(d.filters) > 0 {
		if p.inflate -= s.Size(); p.inflate < 0 {
			return fmt.Errorf("%w: compressed data sets unpack to over %d bytes", formats.ErrLimit, p.limits.InflatedBytes)
		}
	}
	if len(d.filters) > 0 {
		s.Unpack = unfilter(d.filters, s.ChunkBytes)
	}
	t.Data.Source, t.Data.Offset = s, 0
	return nil
}

// unfilter reverses the filters of a chunk.
func unfilter(filters []filter, size int64) func(tiles.Chunk, []byte) ([]byte, error) {
	return func(c tiles.Chunk, b []byte) ([]byte, error) {
		for i := len(filters) - 1; i >= 0; i-- {
			if c.Mask>>i&1 == 1 {
				continue
			}
			var err error
			if b, err = filters[i].undo(b, size); err != nil {
				return nil, err
			}
		}
		return b, nil
	}
}

// chunk is where one chunk of a data set lies.
type chunk struct {
	index, at, size int64
	mask            uint32 // filters that were not applied
}

// chunks lists the chunks of a data set and returns how many bytes they take.
func (p *parser) chunks(d *dataset, s *tiles.Source) (stored int64, err error) {
	add := func(c chunk) error {
		if c.at < 0 {
			return nil
		}
		if len(s.Chunks) >= p.limits.Members {
			return fmt.Errorf("%w: over %d chunks", formats.ErrLimit, p.limits.Members)
		}
		if c.size < 0 || c.at > p.End() || c.size > p.End()-c.at {
			return fmt.Errorf("%w: a chunk of %d bytes at offset %d of %d", formats.ErrTruncated, c.size, c.at, p.End())
		}
		if len(d.filters) == 0 && c.size < s.ChunkBytes {
			return fmt.Errorf("%w: a chunk of %d bytes for %d", formats.ErrMalformed, c.size, s.ChunkBytes)
		}
		stored += c.size
		s.Chunks = append(s.Chunks, tiles.Chunk{Index: c.index, Src: p.src, Offset: c.at, Size: c.size, Mask: c.mask})
		return nil
	}
	switch d.index {
	case indexTree1:
		err = p.chunkTree(d, s, add)
	case indexSingle:
		c := chunk{at: d.at, size: s.ChunkBytes, mask: d.single.mask}
		if len(d.filters) > 0 {
			c.size = d.single.size
		}
		err = add(c)
	case indexImplicit:
		o, ok := newOrder(d, s)
		if !ok || d.at < 0 {
			return 0, nil
		}
		for i := int64(0); i < o.total && err == nil && d.at+i*s.ChunkBytes < p.End(); i++ {
			if index, ok := o.index(i); ok {
				err = add(chunk{index: index, at: d.at + i*s.ChunkBytes, size: s.ChunkBytes})
			}
		}
	case indexFixed:
		err = p.fixedArray(d, s, add)
	case indexGrowing:
		err = p.growingArray(d, s, add)
	case indexTree2:
		err = p.chunkTree2(d, s, add)
	default:
		err = fmt.Errorf("%w: a chunk index of kind %d", formats.ErrUnsupported, d.index)
	}
	return stored, err
}

// chunkTree lists the chunks of a B-tree of version 1.
func (p *parser) chunkTree(d *dataset, s *tiles.Source, add func(chunk) error) error {
	rank := int64(len(d.chunk))
	return p.tree1(d.at, 1, 8+8*(rank+1), func(key, child int64) error {
		size, err := p.U32(key)
		if err != nil {
			return err
		}
		mask, err := p.U32(key + 4)
		if err != nil {
			return err
		}
		c := chunk{at: child, size: int64(size), mask: mask}
		for i := range d.chunk {
			v, err := p.U64(key + 8 + 8*int64(i))
			if err != nil {
				return err
			}
			if v >= uint64(d.shape[i]) {
				return nil // left over from a data set that shrank
			}
			c.index = c.index*s.Grid[i] + int64(v)/d.chunk[i]
		}
		return add(c)
	})
}

// chunkTree2 lists the chunks of a B-tree of version 2, which data sets have that
// can grow along several axes.
func (p *parser) chunkTree2(d *dataset, s *tiles.Source, add func(chunk) error) error {
	rank := int64(len(d.chunk))
	return p.tree2(d.at, func(record int64, size int) error {
		c := chunk{size: s.ChunkBytes}
		var err error
		if c.at, err = p.address(record); err != nil {
			return err
		}
		at := record + int64(p.offSize)
		if width := size - p.offSize - 4 - 8*int(rank); len(d.filters) > 0 {
			if width < 1 || width > 8 {
				return fmt.Errorf("%w: records of %d bytes", formats.ErrMalformed, size)
			}
			n, err := p.Uint(at, width)
			if err != nil {
				return err
			}
			c.size = int64(min(n, 1<<62))
			if c.mask, err = p.U32(at + int64(width)); err != nil {
				return err
			}
			at += int64(width) + 4
		}
		for i := range d.chunk {
			v, err := p.U64(at + 8*int64(i))
			if err != nil {
				return err
			}
			if v >= uint64(s.Grid[i]) {
				return nil // left over from a data set that shrank
			}
			c.index = c.index*s.Grid[i] + int64(v)
		}
		return add(c)
	})
}
