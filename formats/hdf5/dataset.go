package hdf5

import (
	"fmt"
	"slices"

	"weightwarden/formats"
)

// dataset is what the messages of one object say about its data.
type dataset struct {
	name                         string
	space, typ, layout, external bool // seen

	shape []int64
	most  []int64 // what the axes may grow to, unlimited for any length
	null  bool

	dtype   formats.DType
	element int64 // bytes
	big     bool

	kind    byte // of the layout
	at      int64
	size    int64
	chunk   []int64
	index   byte // of the chunks: 0 for a B-tree of version 1
	single  chunk
	filters []filter
}

// The layouts of data.
const (
	compact    = 0
	contiguous = 1
	chunked    = 2
	virtual    = 3
)

// The ways to find chunks, as numbered by layout messages of version 4.
const (
	indexTree1    = 0
	indexSingle   = 1
	indexImplicit = 2
	indexFixed    = 3
	indexGrowing  = 4 // an extensible array
	indexTree2    = 5
)

// unlimited is the most that an axis may grow to where there is no bound.
const unlimited = -1

func (p *parser) dataspace(d *dataset, m message) error {
	b, err := p.Bytes(m.at, 4)
	if err != nil {
		return err
	}
	at := m.at + 4
	switch b[0] {
	case 1:
		at += 4
	case 2:
		d.null = b[3] == 2
	default:
		return fmt.Errorf("%w: dataspace version %d", formats.ErrUnsupported, b[0])
	}
	if b[1] > 32 {
		return fmt.Errorf("%w: %d dimensions", formats.ErrMalformed, b[1])
	}
	d.shape = make([]int64, b[1])
	for i := range d.shape {
		if d.shape[i], err = p.length(at + int64(i*p.lenSize)); err != nil {
			return err
		}
	}
	d.most = slices.Clone(d.shape)
	if b[2]&1 == 0 {
		return nil
	}
	for i := range d.most {
		v, err := p.Uint(at+int64((len(d.shape)+i)*p.lenSize), p.lenSize)
		if err != nil {
			return err
		}
		if d.most[i] = int64(v); v > 1<<62 || v == 1<<(8*p.lenSize)-1 {
			d.most[i] = unlimited
		}
	}
	return nil
}

// datatype reads a type, which may be kept in an object of its own.
func (p *parser) datatype(d *dataset, m message) error {
	at, err := p.datatypeAt(m)
	if err != nil {
		return err
	}
	class, err := p.U8(at)
	if err != nil {
		return err
	}
	b, err := p.Bytes(at, 8)
	if err != nil {
		return err
	}
	bits := b[1]
	size := int64(b[4]) | int64(b[5])<<8 | int64(b[6])<<16 | int64(b[7])<<24
	d.element, d.big = size, bits&1 != 0
	switch class & 15 {
	case 0: // fixed point
		d.dtype = integer(size, bits&8 != 0)
	case 1: // floating point; exponent and mantissa tell F16 from BF16
		props, err := p.Bytes(at+8, 8)
		if err != nil {
			return err
		}
		if bits&0x41 != 0x41 { // not the order of a VAX
			d.dtype = float(size, props[5], props[7])
		}
	case 6: // compound
		d.dtype, d.big, err = p.complex(at, size, int(b[1])|int(b[2])<<8)
		return err
	case 8: // enumeration: h5py's booleans
		d.big = false
		if size == 1 {
			d.dtype = formats.Bool
		}
	default:
		d.big = false
	}
	return nil
}

// datatypeAt returns where the description of a type is: in its message, or where
// a committed type is kept.
func (p *parser) datatypeAt(m message) (int64, error) {
	if m.flags&2 == 0 {
		return m.at, nil
	}
	v, err := p.U8(m.at)
	if err != nil {
		return 0, err
	}
	skip := int64(2)
	if v == 1 {
		skip = 8
	}
	shared, err := p.address(m.at + skip)
	if err != nil {
		return 0, err
	}
	ms, err := p.messages(shared)
	at := int64(-1)
	for _, m := range ms {
		if m.typ == msgDatatype && m.flags&2 == 0 {
			at = m.at
		}
	}
	if at < 0 {
		return 0, fmt.Errorf("%w: no committed datatype (%v)", formats.ErrMalformed, err)
	}
	return at, nil
}

func integer(size int64, signed bool) formats.DType {
	types := map[int64][2]formats.DType{1: {formats.U8, formats.I8}, 2: {formats.U16, formats.I16},
		4: {formats.U32, formats.I32}, 8: {formats.U64, formats.I64}}
	if signed {
		return types[size][1]
	}
	return types[size][0]
}

func float(size int64, exponent, mantissa byte) formats.DType {
	switch {
	case size == 8 && exponent == 11 && mantissa == 52:
		return formats.F64
	case size == 4 && exponent == 8 && mantissa == 23:
		return formats.F32
	case size == 2 && exponent == 5 && mantissa == 10:
		return formats.F16
	case size == 2 && exponent == 8 && mantissa == 7:
		return formats.BF16
	case size == 1 && exponent == 4 && mantissa == 3:
		return formats.F8E4M3
	case size == 1 && exponent == 5 && mantissa == 2:
		return formats.F8E5M2
	}
	return formats.Unknown
}

// complex recognises h5py's complex numbers: a compound of two floats r and i.
func (p *parser) complex(at, size int64, members int) (formats.DType, bool, error) {
	if members != 2 || size != 8 && size != 16 {
		return formats.Unknown, false, nil
	}
	version, err := p.U8(at)
	if err != nil {
		return formats.Unknown, false, err
	}
	name, err := p.Bytes(at+8, 2)
	if err != nil || string(name) != "r\x00" {
		return formats.Unknown, false, err
	}
	// The member's type stands behind its name and offset, which version 1 and 2
	// pad, and version 1 adds dimensions to.
	skip := int64(2 + 1)
	switch version >> 4 {
	case 1:
		skip = 8 + 32
	case 2:
		skip = 8 + 4
	}
	member, err := p.Bytes(at+8+skip, 2)
	if err != nil || member[0]&15 != 1 {
		return formats.Unknown, false, err
	}
	if size == 8 {
		return formats.C64, member[1]&1 != 0, nil
	}
	return formats.C128, member[1]&1 != 0, nil
}

func (p *parser) dataLayout(d *dataset, m message) error {
	b, err := p.Bytes(m.at, 3)
	if err != nil {
		return err
	}
	switch version := b[0]; version {
	case 1, 2:
		return p.layout1(d, m.at, int(b[1]), b[2])
	case 3, 4, 5:
		d.kind = b[1]
		switch {
		case d.kind == compact:
			size, err := p.U16(m.at + 2)
			d.at, d.size = m.at+4, int64(size)
			return err
		case d.kind == contiguous:
			if d.at, err = p.address(m.at + 2); err == nil {
				d.size, err = p.length(m.at + 2 + int64(p.offSize))
			}
			return err
		case d.kind == chunked && version == 3:
			if d.at, err = p.address(m.at + 3); err == nil {
				err = p.chunkShape(d, m.at+3+int64(p.offSize), int(b[2]), 4)
			}
			return err
		case d.kind == chunked:
			return p.layout4(d, m.at)
		}
		return nil
	}
	return fmt.Errorf("%w: data layout version %d", formats.ErrUnsupported, b[0])
}

// layout1 reads the layout message of versions 1 and 2.
func (p *parser) layout1(d *dataset, at int64, rank int, kind byte) error {
	d.kind = kind
	at += 8
	var err error
	if kind != compact {
		if d.at, err = p.address(at); err != nil {
			return err
		}
		at += int64(p.offSize)
	}
	switch kind {
	case chunked:
		return p.chunkShape(d, at, rank, 4)
	case contiguous:
		d.size = -1 // what shape and type need
		return nil
	}
	at += 4 * int64(rank)
	size, err := p.U32(at)
	d.at, d.size = at+4, int64(size)
	return err
}

// chunkShape reads the sizes of a chunk; the last one is that of an element.
func (p *parser) chunkShape(d *dataset, at int64, rank, width int) error {
	if rank < 2 || rank > 33 {
		return fmt.Errorf("%w: chunks of %d dimensions", formats.ErrMalformed, rank-1)
	}
	d.chunk = make([]int64, rank-1)
	for i := range d.chunk {
		v, err := p.Uint(at+int64(i*width), width)
		if err != nil {
			return err
		}
		if v == 0 || v > 1<<40 {
			return fmt.Errorf("%w: chunks of %d elements", formats.ErrMalformed, v)
		}
		d.chunk[i] = int64(v)
	}
	return nil
}

// layout4 reads a chunked layout of version 4.
func (p *parser) layout4(d *dataset, at int64) error {
	b, err := p.Bytes(at, 5)
	if err != nil {
		return err
	}
	flags, rank, width := b[2], int(b[3]), int(b[4])
	if width < 1 || width > 8 {
		return fmt.Errorf("%w: chunk sizes of %d bytes", formats.ErrMalformed, width)
	}
	if err := p.chunkShape(d, at+5, rank, width); err != nil {
		return err
	}
	at += 5 + int64(rank*width)
	if d.index, err = p.U8(at); err != nil {
		return err
	}
	at++
	switch d.index {
	case indexSingle:
		if flags&2 != 0 {
			if d.single.size, err = p.length(at); err != nil {
				return err
			}
			if d.single.mask, err = p.U32(at + int64(p.lenSize)); err != nil {
				return err
			}
			at += int64(p.lenSize) + 4
		}
	case indexImplicit:
	case indexFixed:
		at++
	case indexGrowing:
		at += 5
	case indexTree2:
		at += 6
	default:
		return nil // list says that it was not read
	}
	d.at, err = p.address(at)
	return err
}
