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
	swap, unit, ok := t.DType.ByteOrder()
	if e.BigEndian && !ok {
		return nil, fmt.Errorf("tensor %.200q: %w: big-endian %s", t.Name, ErrUnsupported, t.DType)
	}
	if e.Strides != nil {
		strided, err := t.strided()
		if err != nil {
			return nil, err
		}
		r = strided
	}
	if e.BigEndian && swap != nil {
		r = newSwapReader(r, swap, unit)
	}
	return r, nil
}
