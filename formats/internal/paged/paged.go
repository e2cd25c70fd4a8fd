// Package paged reads the tables of hostile files that refer to each other by
// offset: every access is held against the end of the file, and all of them
// together against a budget, since references may lead many times to one place,
// so that a small file could otherwise keep a reader busy for ever.
package paged

import (
	"encoding/binary"
	"fmt"

	"weightwarden/formats"
)

// Size is the most that Bytes returns at a time.
const Size = 16 << 10

// Reader reads little-endian numbers at any offset of a source.
type Reader struct {
	src    formats.Source
	size   int64
	budget int64
	pages  [4][]byte // the pages read last
	at     [4]int64
	next   int
}

// New returns a Reader of src that may look at budget bytes, repeated ones counted
// every time.
func New(src formats.Source, budget int64) *Reader {
	return &Reader{src: src, size: src.Size(), budget: budget}
}

// End is the size of the source.
func (r *Reader) End() int64 { return r.size }

// Bytes returns n bytes at off, valid until the next call.
func (r *Reader) Bytes(off int64, n int) ([]byte, error) {
	if off < 0 || n < 0 || n > Size || off > r.size-int64(n) {
		return nil, fmt.Errorf("%w: %d bytes at offset %d of %d", formats.ErrTruncated, n, off, r.size)
	}
	if r.budget -= int64(n); r.budget < 0 {
		return nil, fmt.Errorf("%w: the tables refer too often to the same bytes", formats.ErrLimit)
	}
	for i, p := range r.pages {
		if off >= r.at[i] && off+int64(n) <= r.at[i]+int64(len(p)) {
			return p[off-r.at[i]:][:n], nil
		}
	}
	i := r.next
	r.next = (r.next + 1) % len(r.pages)
	size := min(Size, r.size-off)
	if int64(cap(r.pages[i])) < size {
		r.pages[i] = make([]byte, size)
	}
	r.pages[i], r.at[i] = r.pages[i][:size], off
	if err := formats.ReadFull(r.src, r.pages[i], off); err != nil {
		r.pages[i] = r.pages[i][:0]
		return nil, err
	}
	return r.pages[i][:n], nil
}

// U8 reads a byte.
func (r *Reader) U8(off int64) (byte, error) {
	b, err := r.Bytes(off, 1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// U16 reads a number of two bytes.
func (r *Reader) U16(off int64) (uint16, error) {
	b, err := r.Bytes(off, 2)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint16(b), nil
}

// U32 reads a number of four bytes.
func (r *Reader) U32(off int64) (uint32, error) {
	b, err := r.Bytes(off, 4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

// U64 reads a number of eight bytes.
func (r *Reader) U64(off int64) (uint64, error) {
	b, err := r.Bytes(off, 8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// Uint reads a number of width bytes, at most eight.
func (r *Reader) Uint(off int64, width int) (uint64, error) {
	b, err := r.Bytes(off, width)
	var v uint64
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v, err
}
