package formats

import (
	"fmt"
	"io"
)

// Reader returns the tensor's logical contents: elements in row-major order,
// little-endian, whatever strides and byte order the file uses. Two tensors with
// the same values and type read the same, so their digests agree. The reader
// reads ahead as little as its buffer; errors wrap ErrTruncated where the source
// ends early.
func (t *Tensor) Reader() (io.Reader, error) {
	e := t.Data
	if e.Source == nil {
		return nil, fmt.Errorf("tensor %.200q: %w", t.Name, ErrNoSiblings)
	}
	if e.Offset < 0 || e.Length < 0 || e.Offset > e.Source.Size() || e.Length > e.Source.Size()-e.Offset {
		return nil, fmt.Errorf("tensor %.200q: %w: %d bytes at offset %d of %d",
			t.Name, ErrTruncated, e.Length, e.Offset, e.Source.Size())
	}
	var r io.Reader = io.NewSectionReader(e.Source, e.Offset, e.Length)
	width, err := t.wordBytes()
	if err != nil {
		return nil, err
	}
	if e.Strides != nil {
		if r, err = t.strided(); err != nil {
			return nil, err
		}
	}
	if e.BigEndian && width > 1 {
		r = &swapReader{r: r, width: width}
	}
	return r, nil
}

// wordBytes is the width of the numbers that byte order applies to.
func (t *Tensor) wordBytes() (int, error) {
	switch t.DType {
	case C64:
		return 4, nil
	case C128:
		return 8, nil
	case C32:
		return 2, nil
	}
	_, bits := t.DType.Block()
	if t.DType.IsBlock() || bits <= 8 {
		if t.Data.BigEndian && t.DType.IsBlock() {
			return 0, fmt.Errorf("%w: big-endian %s", ErrUnsupported, t.DType)
		}
		return 1, nil
	}
	return int(bits / 8), nil
}

// strided walks the elements of a strided tensor. It reads whole inner runs
// where the last axis is contiguous, and single elements through a small window
// otherwise.
func (t *Tensor) strided() (io.Reader, error) {
	elements, bits := t.DType.Block()
	if elements != 1 || bits%8 != 0 {
		return nil, fmt.Errorf("%w: strides on %s", ErrUnsupported, t.DType)
	}
	if len(t.Data.Strides) != len(t.Shape) {
		return nil, fmt.Errorf("%w: %d strides for %d axes", ErrMalformed, len(t.Data.Strides), len(t.Shape))
	}
	low, high, ok := strideSpan(t.Shape, t.Data.Strides)
	width := bits / 8
	if !ok || t.Data.Offset+low*width < 0 || t.Elements() > 0 && (high+1)*width > t.Data.Source.Size()-t.Data.Offset {
		return nil, fmt.Errorf("%w: strides reach outside of the source", ErrMalformed)
	}
	return &strideReader{t: t, width: width, index: make([]int64, len(t.Shape)),
		left: t.Elements(), window: make([]byte, 64<<10), windowAt: -1}, nil
}

// strideSpan returns the lowest and highest element offset that shape and
// strides reach; false where they overflow.
func strideSpan(shape, strides []int64) (low, high int64, ok bool) {
	const most = 1 << 56
	for i, d := range shape {
		if d == 0 {
			return 0, 0, true
		}
		s := strides[i]
		if s > most || s < -most || (s != 0 && d-1 > most/max(s, -s)) {
			return 0, 0, false
		}
		if reach := (d - 1) * s; reach < 0 {
			low += reach
		} else {
			high += reach
		}
		if low < -most || high > most {
			return 0, 0, false
		}
	}
	return low, high, true
}

type strideReader struct {
	t        *Tensor
	width    int64
	index    []int64
	left     int64 // elements not yet delivered
	part     []byte
	window   []byte
	windowAt int64 // offset of the window in the source, -1 before the first
	windowN  int64
}

// Read implements io.Reader.
func (r *strideReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(r.part) == 0 {
			if r.left == 0 {
				break
			}
			part, err := r.element()
			if err != nil {
				return n, err
			}
			r.part = part
		}
		c := copy(p[n:], r.part)
		r.part, n = r.part[c:], n+c
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (r *strideReader) element() ([]byte, error) {
	off := int64(0)
	for i, x := range r.index {
		off += x * r.t.Data.Strides[i]
	}
	b, err := r.at(r.t.Data.Offset + off*r.width)
	if err != nil {
		return nil, err
	}
	r.left--
	for i := len(r.index) - 1; i >= 0; i-- {
		if r.index[i]++; r.index[i] < r.t.Shape[i] {
			break
		}
		r.index[i] = 0
	}
	return b, nil
}

func (r *strideReader) at(off int64) ([]byte, error) {
	if r.windowAt < 0 || off < r.windowAt || off+r.width > r.windowAt+r.windowN {
		n := min(int64(len(r.window)), r.t.Data.Source.Size()-off)
		if err := ReadFull(r.t.Data.Source, r.window[:n], off); err != nil {
			return nil, err
		}
		r.windowAt, r.windowN = off, n
	}
	i := off - r.windowAt
	return r.window[i : i+r.width], nil
}

// swapReader reverses the bytes of every word.
type swapReader struct {
	r     io.Reader
	width int
	buf   []byte
	store [8 << 10]byte
}

// Read implements io.Reader.
func (s *swapReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(s.buf) == 0 {
		n, err := io.ReadFull(s.r, s.store[:])
		if n == 0 {
			return 0, err
		}
		if n%s.width != 0 {
			return 0, fmt.Errorf("%w: %d bytes are no whole elements", ErrTruncated, n)
		}
		for i := 0; i < n; i += s.width {
			for a, b := i, i+s.width-1; a < b; a, b = a+1, b-1 {
				s.store[a], s.store[b] = s.store[b], s.store[a]
			}
		}
		s.buf = s.store[:n]
	}
	n := copy(p, s.buf)
	s.buf = s.buf[n:]
	return n, nil
}
