package hdf5

import (
	"fmt"

	"weightwarden/formats"
)

// The types of header messages that are read.
const (
	msgDataspace    = 0x01
	msgLinkInfo     = 0x02
	msgDatatype     = 0x03
	msgLink         = 0x06
	msgExternal     = 0x07
	msgLayout       = 0x08
	msgFilters      = 0x0b
	msgContinuation = 0x10
	msgSymbolTable  = 0x11
)

// message is one message of an object header.
type message struct {
	typ   int
	flags byte
	at    int64
	size  int64
}

// block is a part of an object header that is still to be read.
type block struct{ at, size int64 }

// maxMessages bounds the messages of one object.
const maxMessages = 1 << 16

// messages lists the messages of the object header at at.
func (p *parser) messages(at int64) ([]message, error) {
	b, err := p.Bytes(at, 4)
	if err != nil {
		return nil, err
	}
	if string(b) == "OHDR" {
		return p.messages2(at)
	}
	if b[0] != 1 {
		return nil, fmt.Errorf("%w: object header version %d", formats.ErrMalformed, b[0])
	}
	size, err := p.U32(at + 8)
	if err != nil {
		return nil, err
	}
	return p.blocks(block{at + 16, int64(size)}, func(b block) (block, int64, error) { return b, 8, nil },
		func(at int64) (message, error) {
			h, err := p.Bytes(at, 8)
			if err != nil {
				return message{}, err
			}
			return message{typ: int(h[0]) | int(h[1])<<8, size: int64(h[2]) | int64(h[3])<<8, flags: h[4], at: at + 8}, nil
		})
}

// messages2 lists the messages of a header of version 2.
func (p *parser) messages2(at int64) ([]message, error) {
	b, err := p.Bytes(at, 6)
	if err != nil {
		return nil, err
	}
	if b[4] != 2 {
		return nil, fmt.Errorf("%w: object header version %d", formats.ErrMalformed, b[4])
	}
	flags, start := b[5], at+6
	if flags&0x20 != 0 {
		start += 16
	}
	if flags&0x10 != 0 {
		start += 4
	}
	width := 1 << (flags & 3)
	size, err := p.Uint(start, width)
	if err != nil {
		return nil, err
	}
	head := int64(4)
	if flags&0x04 != 0 {
		head = 6
	}
	open := func(b block) (block, int64, error) {
		if b.at != start+int64(width) { // a continuation: signature in front, checksum behind
			s, err := p.Bytes(b.at, 4)
			if err != nil || string(s) != "OCHK" {
				return b, 0, fmt.Errorf("%w: no continuation of a header", formats.ErrMalformed)
			}
			b.at, b.size = b.at+4, b.size-8
		}
		return b, head, nil
	}
	return p.blocks(block{start + int64(width), int64(min(size, 1<<62))}, open, func(at int64) (message, error) {
		h, err := p.Bytes(at, 4)
		if err != nil {
			return message{}, err
		}
		return message{typ: int(h[0]), size: int64(h[1]) | int64(h[2])<<8, flags: h[3], at: at + head}, nil
	})
}

// blocks reads the messages of the first block of a header and of those that
// continue it.
func (p *parser) blocks(first block, open func(block) (block, int64, error), read func(int64) (message, error)) ([]message, error) {
	var out []message
	todo := []block{first}
	for i := 0; i < len(todo); i++ {
		b, head, err := open(todo[i])
		if err != nil {
			return out, err
		}
		if b.at < 0 || b.size > p.End()-b.at {
			return out, fmt.Errorf("%w: a header of %d bytes at offset %d", formats.ErrTruncated, b.size, b.at)
		}
		for end := b.at + b.size; b.at+head <= end; {
			m, err := read(b.at)
			if err != nil {
				return out, err
			}
			if m.at+m.size > end {
				return out, fmt.Errorf("%w: a message of %d bytes at offset %d", formats.ErrTruncated, m.size, b.at)
			}
			if len(out) == maxMessages || len(todo) == 1024 {
				return out, fmt.Errorf("%w: over %d messages of one object", formats.ErrMalformed, maxMessages)
			}
			b.at = m.at + m.size
			if m.typ != msgContinuation {
				out = append(out, m)
				continue
			}
			at, err := p.address(m.at)
			if err != nil {
				return out, err
			}
			size, err := p.length(m.at + int64(p.offSize))
			if err != nil {
				return out, err
			}
			todo = append(todo, block{at, size})
		}
	}
	return out, nil
}

// object reads one object: a group's members are noted, a data set is listed.
func (p *parser) object(o object) error {
	ms, err := p.messages(o.at)
	if err != nil && len(ms) == 0 {
		return err
	}
	d := dataset{name: o.name}
	for _, m := range ms {
		if err2 := p.message(o, &d, m); err2 != nil {
			return err2
		}
	}
	if d.space && d.typ && d.layout {
		if err2 := p.list(&d); err2 != nil {
			return err2
		}
	}
	return err
}

func (p *parser) message(o object, d *dataset, m message) error {
	switch m.typ {
	case msgSymbolTable:
		return p.symbolTable(o, m)
	case msgLink:
		return p.link(o, m.at, m.size)
	case msgLinkInfo:
		return p.linkInfo(o, m)
	case msgDataspace:
		d.space = true
		return p.dataspace(d, m)
	case msgDatatype:
		d.typ = true
		return p.datatype(d, m)
	case msgLayout:
		d.layout = true
		return p.dataLayout(d, m)
	case msgFilters:
		return p.filters(d, m)
	case msgExternal:
		d.external = true
		p.find("external", formats.Danger, "data set %.200q keeps its data in other files, which are not followed", o.name)
	}
	return nil
}
