package zarr

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"weightwarden/formats"
	"weightwarden/formats/archive"
	"weightwarden/formats/internal/tiles"
)

// Chunks finds the bytes that are stored under the key of a chunk, such as "0.1" or
// "c/0/1". The extent's Source is nil where there are none.
type Chunks func(key string) (formats.Extent, error)

// Budget bounds what the arrays of one file may cost all together.
type Budget struct {
	Keys    int   // of chunks that may still be looked for
	Inflate int64 // bytes that may still be unpacked
}

// NewBudget returns the Budget of one file under limits.
func NewBudget(limits formats.Limits) *Budget {
	return &Budget{Keys: limits.Members, Inflate: limits.InflatedBytes}
}

// holesFloor is what an array may read as whatever is stored of it: writers leave out
// chunks of zeros.
const holesFloor = 1 << 20

// errEmpty means a large array of which no chunk was ever written.
var errEmpty = errors.New("no chunk was ever written")

// Add makes a tensor of an array and adds it to a model, with findings about what
// could not be read or reads otherwise than it was written: text is the array's
// .zarray or zarr.json. The error means that the text tells of no array, or that ctx
// is done; it wraps a reason of package formats.
func Add(ctx context.Context, m *formats.Model, name string, text []byte, chunks Chunks, limits formats.Limits, budget *Budget) error {
	l, err := parse(text)
	if err != nil {
		return err
	}
	find := func(code string, s formats.Severity, text string, args ...any) {
		m.AddFinding(limits.Findings, formats.Finding{Code: "zarr." + code, Severity: s, Offset: -1, Text: fmt.Sprintf("array %.200q: ", name) + fmt.Sprintf(text, args...)})
	}
	t, missing, err := read(ctx, name, l, chunks, limits, budget)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errEmpty):
		find("empty", formats.Info, "%v", err)
		return nil
	case err != nil:
		find("array", formats.Unread, "not read: %v", err)
		t.Data = formats.Extent{Length: t.Data.Length}
	case missing > 0 && l.fill != "":
		find("fill", formats.Warning, "%d chunks are not there and read as zeros, though they stand for %q", missing, l.fill)
	case missing > 0:
		find("fill", formats.Info, "%d chunks are not there and read as zeros", missing)
	}
	m.Tensors = append(m.Tensors, t)
	return nil
}

// read makes the tensor of an array, with shape and type as far as they are known
// where there is an error. missing counts chunks that were never written.
func read(ctx context.Context, name string, l *layout, chunks Chunks, limits formats.Limits, budget *Budget) (t formats.Tensor, missing int64, err error) {
	t = formats.Tensor{Name: name, Shape: l.shape, DType: l.dtype}
	n, ok := formats.Elements(l.shape)
	if !ok || n > (1<<60)/l.element {
		t.Shape, t.DType = nil, formats.Unknown
		return t, 0, fmt.Errorf("%w: a shape of %v", formats.ErrMalformed, l.shape)
	}
	t.Data = formats.Extent{Length: n * l.element, BigEndian: l.big && l.element > 1}
	if need, ok := l.dtype.Bytes(n); !ok || need != t.Data.Length {
		t.DType, t.Shape, t.Data.BigEndian = formats.Unknown, []int64{t.Data.Length}, false
	}
	if n == 0 {
		t.Data.Source = formats.BytesSource(nil)
		return t, 0, nil
	}
	a := &array{layout: l, ctx: ctx, chunks: chunks, limits: limits, budget: budget}
	src, err := a.source(name)
	if err != nil {
		return t, 0, err
	}
	t.Data = direct(src, t.Data)
	return t, src.Count - int64(len(src.Chunks)), nil
}

// direct is the extent of an array: that of its chunk where there is one that is
// stored as it is.
func direct(src *tiles.Source, e formats.Extent) formats.Extent {
	if src.Count == 1 && len(src.Chunks) == 1 && src.Unpack == nil && src.ChunkBytes == e.Length {
		e.Source, e.Offset = src.Chunks[0].Src, src.Chunks[0].Offset
		return e
	}
	e.Source, e.Offset = src, 0
	return e
}

type array struct {
	*layout
	ctx    context.Context
	chunks Chunks
	limits formats.Limits
	budget *Budget
	stored int64
}

// source lists the chunks that are there.
func (a *array) source(name string) (*tiles.Source, error) {
	s, ok := tiles.New(a.shape, a.chunk, a.element)
	if !ok {
		return nil, fmt.Errorf("%w: chunks of %v", formats.ErrMalformed, a.chunk)
	}
	for _, c := range a.codecs {
		if !c.known() {
			return nil, fmt.Errorf("%w: codec %.100q", formats.ErrUnsupported, c.name)
		}
	}
	large := s.ChunkBytes > tiles.MaxChunk
	packed := len(a.codecs) > 0 || a.order != nil
	if packed && large && (len(a.codecs) != 1 || a.order != nil || a.codecs[0].name == "blosc" || a.codecs[0].name == "crc32c") {
		return nil, fmt.Errorf("%w: packed chunks of %d bytes", formats.ErrLimit, s.ChunkBytes)
	}
	if packed {
		s.Unpack = a.unpack(s.ChunkBytes)
	}
	list := a.listChunks
	if a.shard != nil {
		list = a.listShards
	}
	if err := list(s, func(index int64, e formats.Extent) error { return a.add(s, index, e, packed && large, name) }); err != nil {
		return nil, err
	}
	if err := s.Order(); err != nil {
		return nil, err
	}
	// A shape may claim far more than the chunks can hold; the rest reads as zeros.
	if (s.Size()-holesFloor)/a.limits.InflateRatio > a.stored {
		if len(s.Chunks) == 0 {
			return nil, errEmpty
		}
		return nil, fmt.Errorf("%w: a shape of %d bytes over chunks of %d", formats.ErrLimit, s.Size(), a.stored)
	}
	if packed || int64(len(s.Chunks)) < s.Count {
		if a.budget.Inflate -= s.Size(); a.budget.Inflate < 0 {
			return nil, fmt.Errorf("%w: packed arrays of over %d bytes", formats.ErrLimit, a.limits.InflatedBytes)
		}
	}
	return s, nil
}

// add lists one chunk.
func (a *array) add(s *tiles.Source, index int64, e formats.Extent, large bool, name string) error {
	if e.Offset < 0 || e.Length < 0 || e.Offset > e.Source.Size() || e.Length > e.Source.Size()-e.Offset {
		return fmt.Errorf("%w: a chunk of %d bytes at offset %d of %d", formats.ErrTruncated, e.Length, e.Offset, e.Source.Size())
	}
	if s.Unpack == nil && e.Length < s.ChunkBytes {
		return fmt.Errorf("%w: a chunk of %d bytes for %d", formats.ErrTruncated, e.Length, s.ChunkBytes)
	}
	if s.Unpack != nil && !large && e.Length > 2*tiles.MaxChunk {
		return fmt.Errorf("%w: a chunk of %d bytes for %d", formats.ErrLimit, e.Length, s.ChunkBytes)
	}
	a.stored += e.Length
	c := tiles.Chunk{Index: index, Src: e.Source, Offset: e.Offset, Size: e.Length}
	if large {
		packed := io.NewSectionReader(e.Source, e.Offset, e.Length)
		how, _ := a.codecs[0].stream()
		c.Src = archive.NewUnpacked(a.ctx, archive.Stream{Format: ID, Name: name, Packed: e.Length,
			Open: func() (io.Reader, error) { return how.Reader(packed) }}, a.limits)
		c.Offset, c.Size, c.Plain = 0, s.ChunkBytes, true
	}
	s.Chunks = append(s.Chunks, c)
	return nil
}

// listChunks asks for every chunk of the grid.
func (a *array) listChunks(s *tiles.Source, add func(int64, formats.Extent) error) error {
	if err := a.spend(s.Count); err != nil {
		return err
	}
	at := make([]int64, len(a.shape))
	for i := range s.Count {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		e, err := a.chunks(a.key(at))
		if err != nil {
			return err
		}
		if e.Source != nil {
			if err := add(i, e); err != nil {
				return err
			}
		}
		next(at, s.Grid)
	}
	return nil
}

// spend counts keys or entries of tables that are looked at.
func (a *array) spend(n int64) error {
	if n > int64(a.budget.Keys) {
		return fmt.Errorf("%w: %d chunks", formats.ErrLimit, n)
	}
	a.budget.Keys -= int(n)
	return nil
}

// next moves a place in a grid on, the last axis first.
func next(at, grid []int64) {
	for i := len(at) - 1; i >= 0; i-- {
		if at[i]++; at[i] < grid[i] {
			return
		}
		at[i] = 0
	}
}

// listShards asks for every shard, and reads its table of chunks.
func (a *array) listShards(s *tiles.Source, add func(int64, formats.Extent) error) error {
	outer, ok := tiles.New(a.shape, a.shard.chunk, a.element)
	if !ok {
		return fmt.Errorf("%w: shards of %v", formats.ErrMalformed, a.shard.chunk)
	}
	if err := a.spend(outer.Count); err != nil {
		return err
	}
	inner, per := make([]int64, len(a.chunk)), int64(1)
	for i, c := range a.chunk {
		if inner[i] = a.shard.chunk[i] / c; per > int64(a.limits.Members)/inner[i] {
			return fmt.Errorf("%w: shards of %v in chunks of %v", formats.ErrLimit, a.shard.chunk, a.chunk)
		}
		per *= inner[i]
	}
	at := make([]int64, len(a.shape))
	for range outer.Count {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		e, err := a.chunks(a.key(at))
		if err != nil {
			return err
		}
		if e.Source != nil {
			if err := a.shardTable(e, at, inner, per, s.Grid, add); err != nil {
				return err
			}
		}
		next(at, outer.Grid)
	}
	return nil
}

// shardTable lists the chunks of the shard at a place of the grid of shards.
func (a *array) shardTable(e formats.Extent, shard, inner []int64, per int64, grid []int64, add func(int64, formats.Extent) error) error {
	size := 16 * per
	if a.shard.checked {
		size += 4
	}
	if size > e.Length || e.Offset < 0 || e.Length > e.Source.Size()-e.Offset {
		return fmt.Errorf("%w: a shard of %d bytes with a table of %d", formats.ErrTruncated, e.Length, size)
	}
	if err := a.spend(per); err != nil {
		return err
	}
	table := e.Offset + e.Length - size
	if a.shard.atStart {
		table = e.Offset
	}
	b := make([]byte, 16*min(per, 4096))
	at := make([]int64, len(inner))
	for i := range per {
		if i%4096 == 0 {
			b = b[:16*min(per-i, 4096)]
			if err := formats.ReadFull(e.Source, b, table+16*i); err != nil {
				return err
			}
		}
		entry := b[16*(i%4096):]
		offset, length := binary.LittleEndian.Uint64(entry), binary.LittleEndian.Uint64(entry[8:])
		index, within := placeIn(grid, shard, inner, at)
		next(at, inner)
		if offset == math.MaxUint64 && length == math.MaxUint64 || !within {
			continue
		}
		if offset > uint64(e.Length) || length > uint64(e.Length)-offset {
			return fmt.Errorf("%w: a chunk at %d+%d of a shard of %d", formats.ErrTruncated, offset, length, e.Length)
		}
		if err := add(index, formats.Extent{Source: e.Source, Offset: e.Offset + int64(offset), Length: int64(length)}); err != nil {
			return err
		}
	}
	return nil
}

// placeIn is the number in the whole grid of the chunk at a place within a shard;
// false where the shard reaches over the end of the array there.
func placeIn(grid, shard, inner, at []int64) (index int64, within bool) {
	within = true
	for k := range inner {
		x := shard[k]*inner[k] + at[k]
		within = within && x < grid[k]
		index = index*grid[k] + x
	}
	return index, within
}

// unpack reverses the codecs of a chunk.
func (a *array) unpack(size int64) func(tiles.Chunk, []byte) ([]byte, error) {
	return func(_ tiles.Chunk, b []byte) (out []byte, err error) {
		for i := len(a.codecs) - 1; i >= 0; i-- {
			if b, err = a.codecs[i].undo(b, size+64); err != nil {
				return nil, err
			}
		}
		if a.order != nil && int64(len(b)) == size {
			b = transposed(b, a.chunk, a.order, a.element)
		}
		return b, nil
	}
}
