package gguf

import (
	"context"
	"fmt"

	"weightwarden/formats"
	"weightwarden/formats/internal/cursor"
)

// ID is the format's name.
const ID formats.ID = "gguf"

// Decoder reads one GGUF file, and the other parts of a split from its first.
type Decoder struct{}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return ID }

// Sniff implements formats.Decoder.
func (Decoder) Sniff(head []byte) bool {
	return len(head) >= 4 && (string(head[:4]) == "GGUF" || string(head[:4]) == "FUGG")
}

// Decode implements formats.Decoder.
func (d Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	p, err := parse(ctx, src, limits)
	if err != nil {
		return nil, err
	}
	if p.split.count > 1 {
		p.joinSplits(ctx)
		if err := ctx.Err(); err != nil {
			return nil, formats.Errorf(ID, "splits", -1, err, "stopped")
		}
	}
	return p.model, nil
}

// parser is the state of reading one file.
type parser struct {
	ctx     context.Context
	src     formats.Source
	limits  formats.Limits
	in      *cursor.Reader
	model   *formats.Model
	version uint32
	big     bool

	alignment int64
	split     split
	dims      []int64
	cut       int
}

// parse reads one file without its siblings.
func parse(ctx context.Context, src formats.Source, limits formats.Limits) (*parser, error) {
	p := &parser{ctx: ctx, src: src, limits: limits, alignment: 32,
		in: cursor.New(src, 0, src.Size(), limits.HeaderBytes), model: &formats.Model{Format: ID}}
	if err := ctx.Err(); err != nil {
		return nil, formats.Errorf(ID, "file", 0, err, "not started")
	}
	tensors, keys, err := p.preamble()
	if err != nil {
		return nil, err
	}
	field, err := "metadata", p.metadata(keys)
	var infos []info
	if err == nil {
		field = "tensor infos"
		infos, err = p.infos(tensors)
	}
	if ctx.Err() != nil {
		return nil, formats.Errorf(ID, field, p.in.Offset(), ctx.Err(), "stopped")
	}
	if err != nil && len(infos) == 0 {
		return nil, &formats.Error{Format: ID, Field: field, Offset: p.in.Offset(), Err: err}
	}
	p.place(infos, err == nil)
	if err != nil {
		p.find("header", formats.Unread, p.in.Offset(), "%s: read %d of %d tensors, whose bytes cannot be placed: %v", field, len(infos), tensors, err)
	}
	return p, nil
}

// preamble reads magic, version and counts.
func (p *parser) preamble() (tensors, keys uint64, err error) {
	magic, err := p.in.Next(4)
	if err != nil || string(magic) != "GGUF" && string(magic) != "FUGG" {
		return 0, 0, formats.Errorf(ID, "magic", 0, formats.ErrNotRecognized, "no GGUF")
	}
	p.big = string(magic) == "FUGG"
	p.in.SetBigEndian(p.big)
	if p.version, err = p.in.U32(); err != nil {
		return 0, 0, &formats.Error{Format: ID, Field: "version", Offset: 4, Err: err}
	}
	if p.version&0xffff == 0 && p.version != 0 { // the other byte order under the same magic
		p.big = !p.big
		p.in.SetBigEndian(p.big)
		p.version = p.version>>24 | p.version>>8&0xff00
	}
	if p.version == 0 || p.version > 3 {
		return 0, 0, formats.Errorf(ID, "version", 4, formats.ErrUnsupported, "version %d", p.version)
	}
	p.model.Variant = fmt.Sprintf("v%d", p.version)
	if p.big {
		p.model.Variant += " big-endian"
	}
	if tensors, err = p.number(); err == nil {
		keys, err = p.number()
	}
	if err != nil {
		return 0, 0, &formats.Error{Format: ID, Field: "counts", Offset: 8, Err: err}
	}
	return tensors, keys, nil
}

// number reads a count or length: 32 bits in version 1, 64 later.
func (p *parser) number() (uint64, error) {
	if p.version == 1 {
		v, err := p.in.U32()
		return uint64(v), err
	}
	return p.in.U64()
}

// text reads a string, cut to the limit of names.
func (p *parser) text() (string, error) {
	n, err := p.number()
	if err != nil {
		return "", err
	}
	s, cut, err := p.in.Text(n, p.limits.NameBytes)
	if cut && err == nil {
		p.cut++
	}
	return s, err
}

func (p *parser) find(code string, s formats.Severity, offset int64, text string, args ...any) {
	p.model.AddFinding(p.limits.Findings, formats.Finding{Code: "gguf." + code, Severity: s,
		Text: fmt.Sprintf(text, args...), Offset: offset})
}

// info is one entry of the tensor list.
type info struct {
	name   string
	shape  []int64 // outermost first
	bad    bool    // the shape is impossible
	typ    uint32
	offset uint64 // from the start of the data
}

// infos reads the tensor list. It returns what it has when it fails.
func (p *parser) infos(count uint64) ([]info, error) {
	const smallest = 8 + 4 + 4 + 8 // of version 1: name length, dimensions, type, offset
	room := min(count, uint64(p.in.Left()/smallest), uint64(p.limits.Tensors))
	infos := make([]info, 0, room)
	for i := uint64(0); i < count; i++ {
		if i%4096 == 0 && p.ctx.Err() != nil {
			return infos, p.ctx.Err()
		}
		if len(infos) >= p.limits.Tensors {
			return infos, fmt.Errorf("%w: over %d tensors", formats.ErrLimit, p.limits.Tensors)
		}
		t, err := p.info()
		if err != nil {
			return infos, err
		}
		infos = append(infos, t)
	}
	if p.cut > 0 {
		p.find("text", formats.Warning, -1, "%d strings were cut to %d bytes", p.cut, p.limits.NameBytes)
	}
	return infos, nil
}

func (p *parser) info() (info, error) {
	var t info
	name, err := p.text()
	if err != nil {
		return t, err
	}
	t.name = name
	at := p.in.Offset()
	n, err := p.in.U32()
	if err != nil {
		return t, err
	}
	if n > 64 {
		return t, fmt.Errorf("%w: tensor %.200q of %d dimensions", formats.ErrMalformed, name, n)
	}
	if n > 4 {
		p.find("dimensions", formats.Warning, at, "tensor %.200q has %d dimensions, ggml knows 4", name, n)
	}
	if t.shape, t.bad, err = p.shape(int(n)); err != nil {
		return t, err
	}
	if t.typ, err = p.in.U32(); err == nil {
		t.offset, err = p.in.U64()
	}
	return t, err
}

// shape reads n dimensions, which ggml orders innermost first.
func (p *parser) shape(n int) (shape []int64, bad bool, err error) {
	if len(p.dims)+n > cap(p.dims) {
		p.dims = make([]int64, 0, max(n, min(4096, 4*cap(p.dims)+16)))
	}
	at := len(p.dims)
	p.dims = p.dims[:at+n]
	shape = p.dims[at : at+n : at+n]
	for i := n - 1; i >= 0; i-- {
		d, err := p.number()
		if err != nil {
			return nil, false, err
		}
		bad = bad || d > 1<<62
		shape[i] = int64(d)
	}
	_, ok := formats.Elements(shape)
	return shape, bad || !ok, nil
}
