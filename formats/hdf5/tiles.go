package hdf5

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"weightwarden/formats"
)

// chunk is one tile of a data set: its number in the grid and its bytes.
type chunk struct {
	index, at, size int64
	mask            uint32 // filters that were not applied
}

// tiles is the Source of a data set in chunks: its bytes in logical order.
type tiles struct {
	src     formats.Source
	shape   []int64 // the last axis in bytes
	tile    []int64 // likewise
	grid    []int64 // chunks per axis
	count   int64   // of the grid
	filters []filter
	chunks  []chunk

	size, chunkBytes int64

	mu     sync.Mutex
	cached map[int64][]byte // unpacked chunks by number
	queue  []int64          // their numbers, the oldest first
	room   int64            // bytes that the cache may still take
}

// newTiles returns a Source without chunks yet, nil where sizes overflow.
func newTiles(src formats.Source, d *dataset) *tiles {
	s := &tiles{src: src, shape: slices.Clone(d.shape), tile: slices.Clone(d.chunk), filters: d.filters}
	s.count = 1
	for i := range s.shape {
		g := (s.shape[i]-1)/s.tile[i] + 1
		if s.count > (1<<40)/g {
			return nil
		}
		s.grid, s.count = append(s.grid, g), s.count*g
	}
	last := len(s.shape) - 1
	if s.tile[last] > (1<<40)/d.element {
		return nil
	}
	s.shape[last] *= d.element
	s.tile[last] *= d.element
	var ok1, ok2 bool
	s.size, ok1 = formats.Elements(s.shape)
	s.chunkBytes, ok2 = formats.Elements(s.tile)
	if !ok1 || !ok2 || s.chunkBytes > 1<<40 {
		return nil
	}
	// A row of tiles is read again for every row of elements in it: keep one.
	s.room = max(s.chunkBytes, min(s.chunkBytes*s.grid[last], 2*maxChunk))
	return s
}

// order sorts the chunks by their place in the grid, which no two may share.
func (s *tiles) order() error {
	slices.SortFunc(s.chunks, func(a, b chunk) int { return cmp.Compare(a.index, b.index) })
	for i := 1; i < len(s.chunks); i++ {
		if s.chunks[i].index == s.chunks[i-1].index {
			return fmt.Errorf("%w: two chunks for one place", formats.ErrMalformed)
		}
	}
	return nil
}

// Size implements formats.Source.
func (s *tiles) Size() int64 { return s.size }

// ReadAt implements io.ReaderAt.
func (s *tiles) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	done := 0
	for done < len(p) {
		at := off + int64(done)
		if at >= s.size {
			return done, io.EOF
		}
		index, inner, run := s.locate(at)
		part := p[done : done+int(min(run, int64(len(p)-done)))]
		if err := s.read(part, index, inner); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}

// locate returns the chunk that has the byte at off, the byte's place in it, and
// how many bytes follow each other there.
func (s *tiles) locate(off int64) (index, inner, run int64) {
	stride, step := int64(1), int64(1)
	for i := len(s.shape) - 1; i >= 0; i-- {
		x := off % s.shape[i]
		off /= s.shape[i]
		if i == len(s.shape)-1 {
			run = min(s.tile[i]-x%s.tile[i], s.shape[i]-x)
		}
		inner += x % s.tile[i] * stride
		index += x / s.tile[i] * step
		stride *= s.tile[i]
		step *= s.grid[i]
	}
	return index, inner, run
}

func (s *tiles) read(p []byte, index, inner int64) error {
	i, found := slices.BinarySearchFunc(s.chunks, index, func(c chunk, x int64) int { return cmp.Compare(c.index, x) })
	if !found {
		clear(p) // never written: the fill value, which is zero unless somebody asked for another
		return nil
	}
	c := s.chunks[i]
	if len(s.filters) == 0 {
		return formats.ReadFull(s.src, p, c.at+inner)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.cached[index]
	if !ok {
		var err error
		if b, err = s.unpack(c); err != nil {
			return err
		}
	}
	copy(p, b[inner:])
	return nil
}

// unpack reverses the filters of a chunk and keeps the result.
func (s *tiles) unpack(c chunk) ([]byte, error) {
	b := make([]byte, c.size)
	if err := formats.ReadFull(s.src, b, c.at); err != nil {
		return nil, err
	}
	for i := len(s.filters) - 1; i >= 0; i-- {
		if c.mask>>i&1 == 1 {
			continue
		}
		var err error
		if b, err = s.filters[i].undo(b, s.chunkBytes); err != nil {
			return nil, err
		}
	}
	if int64(len(b)) != s.chunkBytes {
		return nil, fmt.Errorf("%w: a chunk unpacks to %d bytes, not %d", formats.ErrMalformed, len(b), s.chunkBytes)
	}
	for s.room < s.chunkBytes && len(s.queue) > 0 {
		delete(s.cached, s.queue[0])
		s.queue = s.queue[1:]
		s.room += s.chunkBytes
	}
	if s.cached == nil {
		s.cached = map[int64][]byte{}
	}
	s.cached[c.index] = b
	s.queue = append(s.queue, c.index)
	s.room -= s.chunkBytes
	return b, nil
}
