package coreml

import (
	"context"
	"fmt"
	"slices"

	"weightwarden/formats"
	"weightwarden/formats/internal/cursor"
	"weightwarden/formats/internal/protobuf"
)

// ModelDecoder reads the protobuf of a model: the *.mlmodel of a neural network,
// which holds its weights, and the model.mlmodel of an .mlpackage, whose weights
// lie in a file beside it. Pipelines are read with the models inside.
type ModelDecoder struct{}

// ID implements formats.Decoder.
func (ModelDecoder) ID() formats.ID { return ID }

// Sniff implements formats.Decoder: a message with a description, which every
// model has.
func (ModelDecoder) Sniff(head []byte) bool { return protobuf.Sniff(head, 2) }

// Decode implements formats.Decoder.
func (ModelDecoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	r := &reader{src: src, limits: limits, model: &formats.Model{Format: ID}, consts: map[string]int{}, scanLeft: maxScan}
	r.walk = protobuf.Walk{In: cursor.New(src, 0, src.Size(), limits.HeaderBytes), Visitor: r, Depth: 8*limits.Depth + 16, Stopped: ctx.Err}
	err := r.walk.Run(model)
	if ctx.Err() != nil {
		return nil, formats.Errorf(ID, "message", r.walk.In.Offset(), ctx.Err(), "stopped")
	}
	if r.model.Variant == "" || len(r.model.Tensors) == 0 && r.operations == 0 {
		return nil, formats.Errorf(ID, "model", 0, formats.ErrNotRecognized, "no program or network with weights")
	}
	r.unnamed(ctx)
	r.finish(err)
	return r.model, nil
}

// reader takes the messages of one model.
type reader struct {
	walk   protobuf.Walk
	src    formats.Source
	limits formats.Limits
	model  *formats.Model

	operations int
	ops        []op           // open ones
	consts     map[string]int // tensors of the operator const, by output
	v          val
	weights    files

	net      netState
	scanLeft int64

	over, clipped, cut int
}

func (r *reader) find(code string, s formats.Severity, at int64, text string, args ...any) {
	r.model.AddFinding(r.limits.Findings, formats.Finding{Code: "coreml." + code, Severity: s, Text: fmt.Sprintf(text, args...), Offset: at})
}

// Child implements protobuf.Visitor.
func (r *reader) Child(k protobuf.Kind, number uint64) (protobuf.Kind, bool) {
	r.net.number = number
	return child(k, number)
}

// Open implements protobuf.Visitor.
func (r *reader) Open(k protobuf.Kind, at int64) {
	switch k {
	case program:
		r.variant("program")
	case network:
		r.variant("neural network")
	case operation:
		r.ops = append(r.ops, op{})
	case entryInput, entryAttribute:
		if o := r.op(); o != nil {
			o.key = ""
		}
	case binding:
		if o := r.op(); o != nil {
			o.bound = ""
		}
	case value:
		r.v = val{at: at}
	case dimension:
		r.v.dim, r.v.dimKnown = 0, false
	case tensorValue:
		r.v.immediate = true
	case repeated:
		r.v.field = r.net.number
	default:
		r.net.open(k, at)
	}
}

func (r *reader) variant(v string) {
	if r.model.Variant == "" {
		r.model.Variant = v
	} else if r.model.Variant != v {
		r.model.Variant = "pipeline"
	}
}

func (r *reader) op() *op {
	if len(r.ops) == 0 {
		return nil
	}
	return &r.ops[len(r.ops)-1]
}

// Close implements protobuf.Visitor.
func (r *reader) Close(k protobuf.Kind) {
	switch k {
	case operation:
		o := r.ops[len(r.ops)-1]
		r.ops = r.ops[:len(r.ops)-1]
		r.operation(&o)
	case value:
		if o := r.op(); o != nil && len(o.values) < maxValues {
			o.values = append(o.values, named{o.key, r.v})
		}
	case binding:
		if o := r.op(); o != nil && o.bound != "" && len(o.values) < maxValues {
			o.values = append(o.values, named{o.key, val{reference: o.bound}})
		}
	case dimension:
		r.v.addDim()
	default:
		r.closeNet(k)
	}
}

// Field implements protobuf.Visitor.
func (r *reader) Field(k protobuf.Kind, f protobuf.Field) error {
	o := r.op()
	switch k {
	case operation, namedType, entryInput, entryAttribute, binding:
		if o == nil || f.Number != 1 || f.Wire != protobuf.Bytes {
			return nil
		}
		s, err := r.text(f)
		switch {
		case k == operation:
			o.kind = s
		case k == namedType && o.output == "":
			o.output = s
		case k == entryInput || k == entryAttribute:
			o.key = s
		case k == binding:
			o.bound = s
		}
		return err
	case tensorType:
		if f.Number == 1 && f.Wire == protobuf.Varint {
			r.v.dtype = f.Value
		}
	case constantDimension:
		if f.Number == 1 && f.Wire == protobuf.Varint {
			r.v.dim, r.v.dimKnown = f.Value, true
		}
	case repeated:
		return r.v.number(f)
	case blobFile:
		return r.blobField(f)
	}
	return r.netField(k, f)
}

func (r *reader) blobField(f protobuf.Field) (err error) {
	switch {
	case f.Number == 1 && f.Wire == protobuf.Bytes:
		r.v.file, err = r.text(f)
	case f.Number == 2 && f.Wire == protobuf.Varint:
		r.v.offset = f.Value
	}
	r.v.blob = true
	return err
}

func (r *reader) text(f protobuf.Field) (string, error) {
	s, cut, err := r.walk.In.Text(uint64(f.Piece.Length), r.limits.NameBytes)
	if cut {
		r.cut++
	}
	return s, err
}

func (r *reader) add(t formats.Tensor) {
	if len(r.model.Tensors) >= r.limits.Tensors {
		r.over++
		return
	}
	t.Name = formats.Cut(t.Name, r.limits.NameBytes)
	if t.Data.Source != nil && t.Clip() {
		r.clipped++
	}
	r.model.Tensors = append(r.model.Tensors, t)
}

// fit makes a tensor opaque whose bytes are not those its type and shape need.
func (r *reader) fit(t *formats.Tensor, at int64) {
	n, ok := formats.Elements(t.Shape)
	if need, fits := t.DType.StoredBytes(n); ok && fits && t.DType != formats.Unknown && need == t.Data.Length {
		return
	}
	r.find("size", formats.Warning, at, "tensor %.200q of type %s and shape %v is taken as %d opaque bytes: it needs another size", t.Name, t.DType, t.Shape, t.Data.Length)
	t.DType, t.Shape = formats.Unknown, []int64{t.Data.Length}
}

// maxScan bounds the bytes of numbers of variable length that are counted.
const maxScan = 512 << 20

// numbers places numbers that stand in the message itself.
func (r *reader) numbers(pieces []protobuf.Piece, width int64, varint bool) (formats.Extent, error) {
	if !varint && len(pieces) == 1 && pieces[0].Tag == 0 {
		return formats.Extent{Source: r.src, Offset: pieces[0].Offset, Length: pieces[0].Length}, nil
	}
	if varint {
		if r.scanLeft -= protobuf.Length(pieces); r.scanLeft < 0 {
			return formats.Extent{}, fmt.Errorf("%w: over %d bytes of numbers of variable length", formats.ErrLimit, int64(maxScan))
		}
	}
	n, err := protobuf.NewNumbers(r.walk.Stopped, r.src, slices.Clone(pieces), width, varint)
	if err != nil {
		return formats.Extent{}, err
	}
	return formats.Extent{Source: n, Length: n.Size()}, nil
}

// finish reports what was odd about the whole; err is what ended the reading.
func (r *reader) finish(err error) {
	w := &r.walk
	if err != nil {
		r.find("message", formats.Unread, w.In.Offset(), "the file was read in part: %v", err)
	}
	if w.Short {
		r.find("truncated", formats.Unread, r.src.Size(), "a message claims more bytes than there are")
	}
	if r.clipped > 0 {
		r.find("truncated", formats.Unread, -1, "the bytes of %d tensors are not all there", r.clipped)
	}
	if w.Broken > 0 {
		r.find("message", formats.Warning, -1, "%d messages are malformed and were read in part", w.Broken)
	}
	if w.TooDeep > 0 {
		r.find("depth", formats.Unread, -1, "%d messages nested over %d levels were not read", w.TooDeep, w.Depth)
	}
	if r.over > 0 {
		r.find("limit", formats.Unread, -1, "%d tensors over the limit of %d were not read", r.over, r.limits.Tensors)
	}
	if r.cut > 0 {
		r.find("names", formats.Warning, -1, "%d names were cut to %d bytes", r.cut, r.limits.NameBytes)
	}
}
