package hdf5

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"

	"weightwarden/formats"
)

// filter is one step of what happens to chunks before they are stored.
type filter struct {
	id      int
	element int // of shuffle: bytes of an element
}

// The filters that are read.
const (
	filterDeflate  = 1
	filterShuffle  = 2
	filterFletcher = 3
	filterLZF      = 32000
)

func (f filter) known() bool {
	return f.id == filterDeflate || f.id == filterShuffle || f.id == filterFletcher || f.id == filterLZF
}

// filters reads the filter pipeline of a data set.
func (p *parser) filters(d *dataset, m message) error {
	b, err := p.Bytes(m.at, 2)
	if err != nil {
		return err
	}
	version, n, at := b[0], int(b[1]), m.at+2
	if version == 1 {
		at += 6
	}
	if version < 1 || version > 2 || n > 32 {
		return fmt.Errorf("%w: a pipeline of version %d with %d filters", formats.ErrUnsupported, version, n)
	}
	for range n {
		h, err := p.Bytes(at, 8)
		if err != nil {
			return err
		}
		id, name := int(h[0])|int(h[1])<<8, int64(0)
		values := int64(h[6]) | int64(h[7])<<8
		at += 8
		switch {
		case version == 1 || id >= 256:
			name = int64(h[2]) | int64(h[3])<<8
		default: // version 2 has no name of the known ones
			values = int64(h[4]) | int64(h[5])<<8
			at -= 2
		}
		if version == 1 {
			name = (name + 7) &^ 7
		}
		at += name
		f := filter{id: id}
		if id == filterShuffle && values > 0 {
			v, err := p.U32(at)
			if err != nil {
				return err
			}
			f.element = int(min(v, 1<<20))
		}
		at += 4 * values
		if version == 1 && values%2 == 1 {
			at += 4
		}
		d.filters = append(d.filters, f)
	}
	return nil
}

// undo returns what b was before the filter; limit is the size of a whole chunk.
func (f filter) undo(b []byte, limit int64) ([]byte, error) {
	switch f.id {
	case filterDeflate:
		z, err := zlib.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("%w: deflate: %v", formats.ErrMalformed, err)
		}
		// Checksums of filters in front may make it a little longer than a chunk.
		out := bytes.NewBuffer(make([]byte, 0, min(limit+64, 64*int64(len(b))+64)))
		if _, err := io.Copy(out, io.LimitReader(z, limit+64)); err != nil {
			return nil, fmt.Errorf("%w: deflate: %v", formats.ErrMalformed, err)
		}
		return out.Bytes(), nil
	case filterShuffle:
		if f.element <= 1 {
			return b, nil
		}
		n := len(b) / f.element
		out := make([]byte, len(b))
		for i := range n {
			for j := range f.element {
				out[i*f.element+j] = b[j*n+i]
			}
		}
		copy(out[n*f.element:], b[n*f.element:])
		return out, nil
	case filterFletcher:
		if len(b) < 4 {
			return nil, fmt.Errorf("%w: a chunk without its checksum", formats.ErrTruncated)
		}
		return b[:len(b)-4], nil
	case filterLZF:
		return unpackLZF(b, limit+64)
	}
	return nil, fmt.Errorf("%w: filter %d", formats.ErrUnsupported, f.id)
}

// unpackLZF reverses h5py's own filter: LibLZF, runs of bytes and references back.
func unpackLZF(b []byte, limit int64) ([]byte, error) {
	broken := fmt.Errorf("%w: lzf", formats.ErrMalformed)
	out := make([]byte, 0, min(limit, 64*int64(len(b))+64))
	for i := 0; i < len(b); {
		control := int(b[i])
		i++
		if control < 32 { // a run of bytes
			if i+control+1 > len(b) {
				return nil, broken
			}
			out = append(out, b[i:i+control+1]...)
			i += control + 1
			continue
		}
		n, back := control>>5, control&31<<8
		if n == 7 {
			if i >= len(b) {
				return nil, broken
			}
			n += int(b[i])
			i++
		}
		if i >= len(b) {
			return nil, broken
		}
		back += int(b[i]) + 1
		i++
		if back > len(out) || int64(len(out)+n+2) > limit {
			return nil, broken
		}
		for range n + 2 {
			out = append(out, out[len(out)-back])
		}
	}
	return out, nil
}
