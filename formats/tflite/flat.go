package tflite

import (
	"fmt"

	"weightwarden/formats"
	"weightwarden/formats/internal/paged"
)

// flat reads a FlatBuffer out of a Source.
type flat struct{ *paged.Reader }

// follow returns where the offset at off leads to.
func (f flat) follow(off int64) (int64, error) {
	v, err := f.U32(off)
	return off + int64(v), err
}

// table is the place of a table and of its vtable.
type table struct {
	at, vtable int64
	fields     int
}

func (f flat) table(at int64) (table, error) {
	back, err := f.U32(at)
	if err != nil {
		return table{}, err
	}
	t := table{at: at, vtable: at - int64(int32(back))}
	n, err := f.U16(t.vtable)
	t.fields = (int(n) - 4) / 2
	return t, err
}

// field returns the place of a table's field, 0 where the table does not have it.
func (f flat) field(t table, i int) (int64, error) {
	if i >= t.fields {
		return 0, nil
	}
	off, err := f.U16(t.vtable + 4 + 2*int64(i))
	if err != nil || off == 0 {
		return 0, err
	}
	return t.at + int64(off), nil
}

// number reads a field of the given width, 0 where the table does not have it.
func (f flat) number(t table, i, width int) (uint64, error) {
	off, err := f.field(t, i)
	if err != nil || off == 0 {
		return 0, err
	}
	switch width {
	case 1:
		v, err := f.U8(off)
		return uint64(v), err
	case 4:
		v, err := f.U32(off)
		return uint64(v), err
	}
	return f.U64(off)
}

// vector returns the place of the first element and the number of elements of
// size bytes, which may be more than the file has bytes for.
func (f flat) vector(t table, i int) (at, n int64, err error) {
	off, err := f.field(t, i)
	if err != nil || off == 0 {
		return 0, 0, err
	}
	if at, err = f.follow(off); err != nil {
		return 0, 0, err
	}
	count, err := f.U32(at)
	return at + 4, int64(count), err
}

// list is vector for elements that have to be in the file.
func (f flat) list(t table, i int, size int64) (at, n int64, err error) {
	if at, n, err = f.vector(t, i); err == nil && n > (f.End()-at)/size {
		err = fmt.Errorf("%w: a list of %d elements at offset %d of %d", formats.ErrTruncated, n, at, f.End())
	}
	return at, n, err
}

// text reads a string, cut to max bytes.
func (f flat) text(t table, i, max int) (string, error) {
	at, n, err := f.list(t, i, 1)
	if err != nil || n == 0 {
		return "", err
	}
	b, err := f.Bytes(at, int(min(n, int64(max), paged.Size)))
	return string(b), err
}
