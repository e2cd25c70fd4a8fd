package onnx

import (
	"fmt"
	"math"

	"weightwarden/formats"
	"weightwarden/formats/internal/protobuf"
)

// field reads one field of the innermost message.
func (p *parser) field(top *frame) error {
	at := p.in.Offset()
	tag, err := p.in.Uvarint()
	if err != nil {
		return err
	}
	number, wire, body := tag>>3, tag&7, p.in.Offset()
	if number == 0 || number >= 1<<29 {
		return fmt.Errorf("%w: field number %d", formats.ErrMalformed, number)
	}
	switch wire {
	case protobuf.Varint:
		v, err := p.in.Uvarint()
		if err == nil {
			p.varint(top, number, v, protobuf.Piece{Offset: body, Length: p.in.Offset() - body, Tag: int(body - at)})
		}
		return p.inside(top, err)
	case protobuf.Fixed64, protobuf.Fixed32:
		size := int64(8)
		if wire == protobuf.Fixed32 {
			size = 4
		}
		if top.kind == tensorProto && (number == floatData && wire == protobuf.Fixed32 || number == doubleData && wire == protobuf.Fixed64) {
			p.t.add(number, protobuf.Piece{Offset: body, Length: size, Tag: int(body - at)})
		}
		return p.inside(top, p.in.Skip(size))
	case protobuf.Bytes:
		return p.bytes(top, number)
	case protobuf.Group:
		return p.group(top, number)
	}
	return fmt.Errorf("%w: wire type %d", formats.ErrMalformed, wire)
}

// inside holds a field that was read against the end of its message.
func (p *parser) inside(top *frame, err error) error {
	if err == nil && p.in.Offset() > top.end {
		err = fmt.Errorf("%w: a field reaches out of its message", formats.ErrTruncated)
	}
	return err
}

// bytes reads a length-delimited field: text, a message, packed numbers, or the
// data of a tensor, which is passed over.
func (p *parser) bytes(top *frame, number uint64) error {
	length, err := p.in.Uvarint()
	if err := p.inside(top, err); err != nil {
		return err
	}
	at := p.in.Offset()
	left := top.end - at
	if length > math.MaxInt64 {
		return fmt.Errorf("%w: a field of %d bytes", formats.ErrTruncated, length)
	}
	// What a message claims beyond its end is not there; what is there counts.
	n := min(int64(length), left)
	p.short = p.short || int64(length) > left
	if k, ok := child(top.kind, number); ok {
		if len(p.open) < 4*p.limits.Depth+4 {
			p.push(k, at+n)
			return nil
		}
		p.find("depth", formats.Unread, at, "messages nested over %d levels were not read", len(p.open))
		return p.in.Skip(n)
	}
	if !known(top.kind, number) {
		p.unknown += n
	}
	if max := p.textField(top.kind, number); max > 0 {
		s, cut, err := p.in.Text(uint64(n), max)
		if cut {
			p.cut++
		}
		if err == nil {
			p.text(top, number, s)
		}
		return err
	}
	if err := p.blob(top, number, at, n, int64(length)); err != nil {
		return err
	}
	return p.in.MoveTo(at + n)
}

// textField is how much of a string is wanted, 0 for one that is not.
func (p *parser) textField(k kind, number uint64) int {
	want := false
	switch k {
	case modelProto:
		want = number == 2 || number == 3 || number == 4 || number == 6
	case nodeProto:
		want = number >= 2 && number <= 4
	case attributeProto, opsetProto:
		want = number == 1
	case tensorProto:
		want = number == 8
	case entryProto:
		want = number <= 2
	}
	if !want {
		return 0
	}
	return p.limits.NameBytes
}

func (p *parser) text(top *frame, number uint64, s string) {
	switch top.kind {
	case modelProto:
		p.keep([...]string{2: "producer_name", 3: "producer_version", 4: "domain", 6: "doc_string"}[number], s)
	case nodeProto:
		switch {
		case number == 2 && top.output == "":
			top.output = s
		case number == 3:
			top.name = s
		case number == 4:
			top.op = s
		}
	case attributeProto, opsetProto:
		top.name = s
	case tensorProto:
		p.t.name = s
	case entryProto:
		if number == 1 {
			top.name = s
		} else {
			top.output = s
		}
	}
}

// varint takes a number that stands alone in a message.
func (p *parser) varint(top *frame, number, v uint64, s protobuf.Piece) {
	switch top.kind {
	case modelProto:
		if number == 1 {
			p.keep("ir_version", fmt.Sprint(v))
		} else if number == 5 {
			p.keep("model_version", fmt.Sprint(int64(v)))
		}
	case opsetProto:
		if number == 2 {
			top.output = fmt.Sprint(int64(v))
		}
	case tensorProto:
		switch number {
		case 1:
			p.t.dim(v)
		case 2:
			p.t.dtype = v
		case 14:
			p.t.location = v
		case int32Data, int64Data, uint64Data:
			p.t.add(number, s)
		}
	}
}

// minBlob is the least size at which a list or string of an attribute is taken
// for weights: custom operators keep theirs there.
const minBlob = 4096

// blob takes the bytes of a tensor, or of an attribute that is as large as one.
// claimed is the length that the file gives for the n bytes at hand.
func (p *parser) blob(top *frame, number uint64, at, n, claimed int64) error {
	switch top.kind {
	case tensorProto:
		switch number {
		case 1:
			return p.packedDims(at + n)
		case rawData:
			p.t.raws++
			p.t.raw, p.t.rawClaimed = protobuf.Piece{Offset: at, Length: n}, claimed
		case floatData, int32Data, int64Data, doubleData, uint64Data:
			p.t.add(number, protobuf.Piece{Offset: at, Length: n})
		case 6:
			p.t.strings += n
		}
	case attributeProto:
		if n >= minBlob && (number == 4 || number == 7 && n%4 == 0) {
			t := formats.Tensor{Name: top.name, Shape: []int64{n}, Data: formats.Extent{Source: p.src, Offset: at, Length: n}}
			if number == 7 {
				t.DType, t.Shape = formats.F32, []int64{n / 4}
			}
			p.add(t)
		}
	}
	return nil
}

func (p *parser) packedDims(end int64) error {
	for p.in.Offset() < end {
		v, err := p.in.Uvarint()
		if err != nil {
			return err
		}
		p.t.dim(v)
	}
	return nil
}

// group passes over a group.
func (p *parser) group(top *frame, number uint64) error {
	start := p.in.Offset()
	err := protobuf.SkipGroup(p.ctx.Err, p.in, number)
	p.unknown += p.in.Offset() - start
	return p.inside(top, err)
}
