package onnx

import (
	"context"
	"errors"
	"fmt"

	"weightwarden/formats"
	"weightwarden/formats/internal/cursor"
)

// ID is the format's name.
const ID formats.ID = "onnx"

// Decoder reads one ONNX model with its external data.
type Decoder struct{}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return ID }

// Decode implements formats.Decoder.
func (Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	p := &parser{ctx: ctx, src: src, limits: limits, model: &formats.Model{Format: ID},
		in: cursor.New(src, 0, src.Size(), limits.HeaderBytes), scanLeft: maxScan}
	err := p.run()
	if ctx.Err() != nil {
		return nil, formats.Errorf(ID, "message", p.in.Offset(), ctx.Err(), "stopped")
	}
	if !p.recognised {
		if errors.Is(err, formats.ErrLimit) && p.graphs > 0 {
			return nil, &formats.Error{Format: ID, Field: "model", Offset: p.in.Offset(), Err: err}
		}
		return nil, formats.Errorf(ID, "model", 0, formats.ErrNotRecognized, "no graph of nodes or tensors")
	}
	p.finish(err)
	return p.model, nil
}

// frame is a message that is being read.
type frame struct {
	kind  kind
	end   int64
	first int // tensors of the model when the message began

	// Of a node: its first output and its own name; of an attribute: its name;
	// of an entry: key and value; of an operator set: its domain.
	output, name, op string
}

// parser walks the messages of one file with a list of open ones.
type parser struct {
	ctx    context.Context
	src    formats.Source
	limits formats.Limits
	in     *cursor.Reader
	model  *formats.Model
	open   []frame
	t      tensor // the tensor being read; tensors do not nest

	recognised bool
	graphs     int
	fields     int
	broken     int   // messages left early
	unknown    int64 // bytes in fields that onnx.proto does not have
	over       int   // tensors over the limit
	clipped    int
	cut        int
	short      bool // a message claims more than its parent or the file has
	scanLeft   int64
	externals  map[string]external
}

// run reads fields until the file ends. An error of the file or of the budget
// ends it; a malformed message is left, and reading goes on behind it.
func (p *parser) run() error {
	p.push(modelProto, p.src.Size())
	for len(p.open) > 0 {
		top := &p.open[len(p.open)-1]
		if p.in.Offset() >= top.end {
			p.pop()
			continue
		}
		if p.fields++; p.fields%4096 == 0 && p.ctx.Err() != nil {
			return p.ctx.Err()
		}
		err := p.field(top)
		switch {
		case err == nil:
		case len(p.open) == 1 || errors.Is(err, formats.ErrLimit) || !isReason(err):
			p.closeAll()
			return err
		default:
			p.broken++
			if err := p.in.MoveTo(p.open[len(p.open)-1].end); err != nil {
				return err
			}
		}
	}
	return p.ctx.Err()
}

func isReason(err error) bool {
	return errors.Is(err, formats.ErrMalformed) || errors.Is(err, formats.ErrTruncated)
}

func (p *parser) closeAll() {
	for len(p.open) > 0 {
		p.pop()
	}
}

// push opens a message that ends at end.
func (p *parser) push(k kind, end int64) {
	p.open = append(p.open, frame{kind: k, end: end, first: len(p.model.Tensors)})
	switch k {
	case tensorProto:
		p.t = tensor{at: p.in.Offset(), dims: p.t.dims[:0]}
	case graphProto:
		p.graphs++
	}
}

// pop closes the innermost message.
func (p *parser) pop() {
	f := p.open[len(p.open)-1]
	p.open = p.open[:len(p.open)-1]
	switch f.kind {
	case tensorProto:
		p.emit()
	case entryProto:
		p.entry(f)
	case nodeProto:
		p.recognised = p.recognised || isIdentifier(f.op)
		p.nameTensors(f, firstOf(f.output, f.name))
	case sparseProto:
		if f.first < len(p.model.Tensors) && p.model.Tensors[f.first].Name != "" {
			p.nameTensors(f, p.model.Tensors[f.first].Name+".indices")
		}
	case opsetProto:
		p.keep("opset_import "+firstOf(f.name, "ai.onnx"), f.output)
	}
}

// nameTensors names the tensors of a message that have no name of their own.
func (p *parser) nameTensors(f frame, name string) {
	for i := f.first; i < len(p.model.Tensors); i++ {
		if p.model.Tensors[i].Name == "" {
			p.model.Tensors[i].Name = formats.Cut(name, p.limits.NameBytes)
		}
	}
}

func (p *parser) keep(key, value string) {
	const keptKeys = 4096
	if len(p.model.Metadata) < keptKeys {
		p.model.Metadata = append(p.model.Metadata,
			formats.KeyValue{Key: formats.Cut(key, p.limits.NameBytes), Value: formats.Cut(value, p.limits.NameBytes)})
	}
}

// entry takes a key and value of the model, or of a tensor's external data.
func (p *parser) entry(f frame) {
	if len(p.open) > 0 && p.open[len(p.open)-1].kind == tensorProto {
		p.t.externalEntry(f.name, f.output)
		return
	}
	p.keep(f.name, f.output)
}

func (p *parser) find(code string, s formats.Severity, offset int64, text string, args ...any) {
	p.model.AddFinding(p.limits.Findings, formats.Finding{Code: "onnx." + code, Severity: s,
		Text: fmt.Sprintf(text, args...), Offset: offset})
}

// finish reports what was odd about the whole; err is what ended the reading.
func (p *parser) finish(err error) {
	if err != nil {
		p.find("message", formats.Unread, p.in.Offset(), "the file was read in part: %v", err)
	}
	if p.short {
		p.find("truncated", formats.Unread, p.src.Size(), "a message claims more bytes than there are")
	}
	if p.clipped > 0 {
		p.find("truncated", formats.Unread, -1, "the bytes of %d tensors are not all there", p.clipped)
	}
	if p.broken > 0 {
		p.find("message", formats.Warning, -1, "%d messages are malformed and were read in part", p.broken)
	}
	if p.unknown >= 1<<16 {
		p.find("unknown", formats.Warning, -1, "%d bytes are in fields that ONNX does not have", p.unknown)
	}
	if p.over > 0 {
		p.find("limit", formats.Unread, -1, "%d tensors over the limit of %d were not read", p.over, p.limits.Tensors)
	}
	if p.cut > 0 {
		p.find("text", formats.Warning, -1, "%d names were cut to %d bytes", p.cut, p.limits.NameBytes)
	}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// isIdentifier reports whether s may be the name of an operator.
func isIdentifier(s string) bool {
	for _, c := range []byte(s) {
		if c < '!' || c > '~' {
			return false
		}
	}
	return s != ""
}
