package formats

import (
	"fmt"
	"io"
)

// Reader returns the tensor's logical contents: elements in row-major order,
// little-endian, whatever strides and byte order the file uses. Two tensors with
// the same values and type read the same, so their digests agree. The reader
// reads ahead as little as its buffer; errors wrap ErrTruncated where the source
// ends early. Strided tensors are gathered in tiles of up to 32 MiB.
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
