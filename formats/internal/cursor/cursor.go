// Package cursor reads binary headers of hostile files from front to back: every
// length is held against the bytes that are left, and what is read (not what is
// skipped) against a budget.
package cursor

import (
	"encoding/binary"
	"fmt"
	"io"

	"weightwarden/formats"
)

const window = 64 << 10

// Reader reads a part of a source. The zero Order is little-endian.
type Reader struct {
	src    io.ReaderAt
	off    int64 // of the next byte
	end    int64
	budget int64
	big    bool
	buf    []byte // the window's bytes
	at     int64  // offset of buf in the source
	want   int    // size of the next window
}

// New returns a Reader of src from offset to end that may read budget bytes.
func New(src io.ReaderAt, offset, end, budget int64) *Reader {
	return &Reader{src: src, off: offset, end: end, budget: budget, want: 4 << 10}
}

// SetBigEndian sets the byte order of U16, U32 and U64.
func (r *Reader) SetBigEndian(big bool) { r.big = big }

// Offset is the place of the next byte in the source.
func (r *Reader) Offset() int64 { return r.off }

// Left is the number of bytes up to the end.
func (r *Reader) Left() int64 { return r.end - r.off }

// Skip passes over n bytes without reading them.
func (r *Reader) Skip(n int64) error {
	if n < 0 || n > r.Left() {
		return fmt.Errorf("%w: %d bytes wanted, %d left", formats.ErrTruncated, uint64(n), r.Left())
	}
	r.off += n
	return nil
}

// SkipArray passes over n elements of size bytes each.
func (r *Reader) SkipArray(n uint64, size int64) error {
	if size > 0 && n > uint64(r.Left()/size) {
		return fmt.Errorf("%w: %d elements of %d bytes, %d bytes left", formats.ErrTruncated, n, size, r.Left())
	}
	r.off += int64(n) * size
	return nil
}

// MoveTo moves to an absolute offset between the start of the source and the end.
func (r *Reader) MoveTo(offset int64) error {
	if offset < 0 || offset > r.end {
		return fmt.Errorf("%w: offset %d of %d", formats.ErrTruncated, offset, r.end)
	}
	r.off = offset
	return nil
}

// Next returns the next n bytes, at most 64 KiB, valid until the next call.
func (r *Reader) Next(n int) ([]byte, error) {
	if int64(n) > r.Left() {
		return nil, fmt.Errorf("%w: %d bytes wanted, %d left", formats.ErrTruncated, n, r.Left())
	}
	if r.budget -= int64(n); r.budget < 0 {
		return nil, fmt.Errorf("%w: the header is too long", formats.ErrLimit)
	}
	if r.off < r.at || r.off+int64(n) > r.at+int64(len(r.buf)) {
		if err := r.fill(n); err != nil {
			return nil, err
		}
	}
	i := int(r.off - r.at)
	r.off += int64(n)
	return r.buf[i : i+n], nil
}

// fill reads a window that grows as long as reading goes straight on.
func (r *Reader) fill(n int) error {
	if r.off >= r.at && r.off <= r.at+int64(len(r.buf)) {
		r.want = min(2*r.want, window)
	} else {
		r.want = 4 << 10
	}
	size := int(min(int64(max(n, r.want)), r.Left()))
	if cap(r.buf) < size {
		r.buf = make([]byte, size)
	}
	r.buf = r.buf[:size]
	if err := formats.ReadFull(r.src, r.buf, r.off); err != nil {
		r.buf = r.buf[:0]
		return err
	}
	r.at = r.off
	return nil
}

// U8 reads a byte.
func (r *Reader) U8() (byte, error) {
	b, err := r.Next(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// U16 reads a number of two bytes.
func (r *Reader) U16() (uint16, error) {
	b, err := r.Next(2)
	if err != nil {
		return 0, err
	}
	if r.big {
		return binary.BigEndian.Uint16(b), nil
	}
	return binary.LittleEndian.Uint16(b), nil
}

// U32 reads a number of four bytes.
func (r *Reader) U32() (uint32, error) {
	b, err := r.Next(4)
	if err != nil {
		return 0, err
	}
	if r.big {
		return binary.BigEndian.Uint32(b), nil
	}
	return binary.LittleEndian.Uint32(b), nil
}

// U64 reads a number of eight bytes.
func (r *Reader) U64() (uint64, error) {
	b, err := r.Next(8)
	if err != nil {
		return 0, err
	}
	if r.big {
		return binary.BigEndian.Uint64(b), nil
	}
	return binary.LittleEndian.Uint64(b), nil
}

// Uvarint reads a number in protobuf's and LEB128's base-128 way.
func (r *Reader) Uvarint() (uint64, error) {
	var v uint64
	for shift := 0; shift < 70; shift += 7 {
		b, err := r.U8()
		if err != nil {
			return 0, err
		}
		if shift == 63 && b > 1 {
			break
		}
		if v |= uint64(b&0x7f) << shift; b < 0x80 {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%w: a number over 64 bits", formats.ErrMalformed)
}

// Text reads a string of n bytes, of which it returns the first max; cut says
// that there were more.
func (r *Reader) Text(n uint64, max int) (s string, cut bool, err error) {
	if n > uint64(r.Left()) {
		return "", false, fmt.Errorf("%w: a string of %d bytes, %d left", formats.ErrTruncated, n, r.Left())
	}
	keep := min(n, uint64(max), window)
	b, err := r.Next(int(keep))
	if err != nil {
		return "", false, err
	}
	s = string(b)
	return s, keep < n, r.Skip(int64(n - keep))
}
