// Package tiles makes one Source of an array that is stored in chunks of equal
// shape, packed or not: the array's bytes in logical order.
package tiles

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"weightwarden/formats"
)

// MaxChunk bounds the bytes of a packed chunk that is unpacked in memory, in whole.
const MaxChunk = 64 << 20

// Chunk is one tile of an array: its number in the grid and its bytes.
type Chunk struct {
	Index        int64
	Src          formats.Source
	Offset, Size int64
	// Mask is the format's own, for Unpack.
	Mask uint32
	// Plain says that the bytes are those of the array even if others are packed.
	Plain bool
}

// Source is an array in chunks, in row-major order. Chunks that are not there read
// as zeros.
type Source struct {
	// Grid is how many chunks there are along each axis, and Count in all.
	Grid  []int64
	Count int64
	// ChunkBytes is the size of one chunk as it is in the array.
	ChunkBytes int64
	// Unpack turns what is stored into the ChunkBytes of a chunk; nil where that is
	// the same.
	Unpack func(c Chunk, stored []byte) ([]byte, error)
	// Chunks are those that are there; Order sorts them.
	Chunks []Chunk

	shape []int64 // the last axis in bytes
	tile  []int64 // likewise
	size  int64

	mu     sync.Mutex
	cached map[int64][]byte // unpacked chunks by number
	queue  []int64          // their numbers, the oldest first
	room   int64            // bytes that the cache may still take
}

// New returns a Source without chunks of an array of elements of some bytes; false
// where sizes overflow. No axis of shape or chunk is less than one.
func New(shape, chunk []int64, element int64) (*Source, bool) {
	if len(shape) == 0 {
		shape, chunk = []int64{1}, []int64{1}
	}
	s := &Source{shape: slices.Clone(shape), tile: slices.Clone(chunk), Count: 1}
	if len(s.tile) != len(s.shape) {
		return nil, false
	}
	for i := range s.shape {
		if s.shape[i] < 1 || s.tile[i] < 1 {
			return nil, false
		}
		g := (s.shape[i]-1)/s.tile[i] + 1
		if s.Count > (1<<40)/g {
			return nil, false
		}
		s.Grid, s.Count = append(s.Grid, g), s.Count*g
	}
	last := len(s.shape) - 1
	if s.tile[last] > (1<<40)/element || s.shape[last] > (1<<60)/element {
		return nil, false
	}
	s.shape[last] *= element
	s.tile[last] *= element
	var ok1, ok2 bool
	s.size, ok1 = formats.Elements(s.shape)
	s.ChunkBytes, ok2 = formats.Elements(s.tile)
	if !ok1 || !ok2 || s.ChunkBytes > 1<<40 {
		return nil, false
	}
	// A row of tiles is read again for every row of elements in it: keep one.
	row := s.Grid[last]
	if row > 2*MaxChunk/s.ChunkBytes {
		row = 2 * MaxChunk / s.ChunkBytes
	}
	s.room = max(s.ChunkBytes, s.ChunkBytes*row)
	return s, true
}

// Order sorts the chunks by their place in the grid, which no two may share.
func (s *Source) Order() error {
	slices.SortFunc(s.Chunks, func(a, b Chunk) int { return cmp.Compare(a.Index, b.Index) })
	for i := 1; i < len(s.Chunks); i++ {
		if s.Chunks[i].Index == s.Chunks[i-1].Index {
			return fmt.Errorf("%w: two chunks for one place", formats.ErrMalformed)
		}
	}
	return nil
}

// Size implements formats.Source.
func (s *Source) Size() int64 { return s.size }

// ReadAt implements io.ReaderAt.
func (s *Source) ReadAt(p []byte, off int64) (int, error) {
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
func (s *Source) locate(off int64) (index, inner, run int64) {
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
		step *= s.Grid[i]
	}
	return index, inner, run
}

func (s *Source) read(p []byte, index, inner int64) error {
	i, found := slices.BinarySearchFunc(s.Chunks, index, func(c Chunk, x int64) int { return cmp.Compare(c.Index, x) })
	if !found {
		clear(p) // never written: the fill value, which is zero unless somebody asked for another
		return nil
	}
	c := s.Chunks[i]
	if s.Unpack == nil || c.Plain {
		return formats.ReadFull(c.Src, p, c.Offset+inner)
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

// unpack unpacks a chunk and keeps the result.
func (s *Source) unpack(c Chunk) ([]byte, error) {
	b := make([]byte, c.Size)
	if err := formats.ReadFull(c.Src, b, c.Offset); err != nil {
		return nil, err
	}
	b, err := s.Unpack(c, b)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != s.ChunkBytes {
		return nil, fmt.Errorf("%w: a chunk unpacks to %d bytes, not %d", formats.ErrMalformed, len(b), s.ChunkBytes)
	}
	for s.room < s.ChunkBytes && len(s.queue) > 0 {
		delete(s.cached, s.queue[0])
		s.queue = s.queue[1:]
		s.room += s.ChunkBytes
	}
	if s.cached == nil {
		s.cached = map[int64][]byte{}
	}
	s.cached[c.Index] = b
	s.queue = append(s.queue, c.Index)
	s.room -= s.ChunkBytes
	return b, nil
}
