package tflite

import (
	"encoding/binary"
	"fmt"

	"weightwarden/formats"
)

const pageSize = 16 << 10

// flat reads a FlatBuffer out of a Source. Every access is held against the end
// of the file and counted: offsets may lead many times to the same place, so that
// a small file could otherwise keep a reader busy for ever.
type flat struct {
	src    formats.Source
	size   int64
	budget int64
	pages  [4][]byte // the pages read last
	at     [4]int64
	next   int
}

func newFlat(src formats.Source, budget int64) *flat {
	return &flat{src: src, size: src.Size(), budget: budget}
}

// bytes returns n bytes at off, at most a page, valid until the next call.
func (f *flat) bytes(off int64, n int) ([]byte, error) {
	if off < 0 || n < 0 || off > f.size-int64(n) {
		return nil, fmt.Errorf("%w: %d bytes at offset %d of %d", formats.ErrTruncated, n, off, f.size)
	}
	if f.budget -= int64(n); f.budget < 0 {
		return nil, fmt.Errorf("%w: the tables refer too often to the same bytes", formats.ErrLimit)
	}
	for i, p := range f.pages {
		if off >= f.at[i] && off+int64(n) <= f.at[i]+int64(len(p)) {
			return p[off-f.at[i]:][:n], nil
		}
	}
	i := f.next
	f.next = (f.next + 1) % len(f.pages)
	size := min(max(pageSize, int64(n)), f.size-off)
	if int64(cap(f.pages[i])) < size {
		f.pages[i] = make([]byte, size)
	}
	f.pages[i] = f.pages[i][:size]
	f.at[i] = off
	if err := formats.ReadFull(f.src, f.pages[i], off); err != nil {
		f.pages[i] = f.pages[i][:0]
		return nil, err
	}
	return f.pages[i][:n], nil
}

func (f *flat) u16(off int64) (uint16, error) {
	b, err := f.bytes(off, 2)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint16(b), nil
}

func (f *flat) u32(off int64) (uint32, error) {
	b, err := f.bytes(off, 4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (f *flat) u64(off int64) (uint64, error) {
	b, err := f.bytes(off, 8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// follow returns where the offset at off leads to.
func (f *flat) follow(off int64) (int64, error) {
	v, err := f.u32(off)
	return off + int64(v), err
}

// table is the place of a table and of its vtable.
type table struct {
	at, vtable int64
	fields     int
}

func (f *flat) table(at int64) (table, error) {
	back, err := f.u32(at)
	if err != nil {
		return table{}, err
	}
	t := table{at: at, vtable: at - int64(int32(back))}
	n, err := f.u16(t.vtable)
	t.fields = (int(n) - 4) / 2
	return t, err
}

// field returns the place of a table's field, 0 where the table does not have it.
func (f *flat) field(t table, i int) (int64, error) {
	if i >= t.fields {
		return 0, nil
	}
	off, err := f.u16(t.vtable + 4 + 2*int64(i))
	if err != nil || off == 0 {
		return 0, err
	}
	return t.at + int64(off), nil
}

// number reads a field of the given width, 0 where the table does not have it.
func (f *flat) number(t table, i, width int) (uint64, error) {
	off, err := f.field(t, i)
	if err != nil || off == 0 {
		return 0, err
	}
	switch width {
	case 1:
		b, err := f.bytes(off, 1)
		if err != nil {
			return 0, err
		}
		return uint64(b[0]), nil
	case 4:
		v, err := f.u32(off)
		return uint64(v), err
	}
	return f.u64(off)
}

// vector returns the place of the first element and the number of elements of
// size bytes, which may be more than the file has bytes for.
func (f *flat) vector(t table, i int) (at, n int64, err error) {
	off, err := f.field(t, i)
	if err != nil || off == 0 {
		return 0, 0, err
	}
	if at, err = f.follow(off); err != nil {
		return 0, 0, err
	}
	count, err := f.u32(at)
	return at + 4, int64(count), err
}

// list is vector for elements that have to be in the file.
func (f *flat) list(t table, i int, size int64) (at, n int64, err error) {
	if at, n, err = f.vector(t, i); err == nil && n > (f.size-at)/size {
		err = fmt.Errorf("%w: a list of %d elements at offset %d of %d", formats.ErrTruncated, n, at, f.size)
	}
	return at, n, err
}

// text reads a string, cut to max bytes.
func (f *flat) text(t table, i, max int) (string, error) {
	at, n, err := f.list(t, i, 1)
	if err != nil || n == 0 {
		return "", err
	}
	b, err := f.bytes(at, int(min(n, int64(max), pageSize)))
	return string(b), err
}
