// Package tflite reads TensorFlow Lite (LiteRT) models: FlatBuffers of the schema
// version 3, weights in and behind the FlatBuffer. Source: schema.fbs of
// tensorflow/tensorflow (3c) and the FlatBuffers internals document.
package tflite

import (
	"context"
	"errors"
	"fmt"

	"weightwarden/formats"
	"weightwarden/formats/internal/paged"
)

// ID is the format's name.
const ID formats.ID = "tflite"

// Decoder reads one model.
type Decoder struct{}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return ID }

// Sniff implements formats.Decoder.
func (Decoder) Sniff(head []byte) bool { return len(head) >= 8 && string(head[4:8]) == "TFL3" }

// types is indexed by TensorType; sizes decide whether the newest ones are right.
var types = [...]formats.DType{formats.F32, formats.F16, formats.I32, formats.U8, formats.I64, formats.Unknown, formats.Bool,
	formats.I16, formats.C64, formats.I8, formats.F64, formats.C128, formats.U64, formats.Unknown, formats.Unknown,
	formats.U32, formats.U16, formats.I4, formats.BF16, formats.I2, formats.U4}

// The fields of the tables that are read.
const (
	modelVersion, modelSubgraphs, modelDescription, modelBuffers = 0, 2, 3, 4

	tensorShape, tensorType, tensorBuffer, tensorName, tensorSparsity = 0, 1, 2, 3, 6

	bufferData, bufferOffset, bufferSize = 0, 1, 2
)

// minUnused is the least size of a buffer that is listed though no tensor uses it.
const minUnused = 4096

// Decode implements formats.Decoder. Tensors without data, which a model has for
// what it computes, are not listed.
func (Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	p := &parser{ctx: ctx, src: src, limits: limits, model: &formats.Model{Format: ID},
		in: flat{paged.New(src, min(limits.HeaderBytes, 64*src.Size()+1<<16))}}
	if err := ctx.Err(); err != nil {
		return nil, formats.Errorf(ID, "file", 0, err, "not started")
	}
	if b, err := p.in.Bytes(0, 8); err != nil || string(b[4:]) != "TFL3" {
		return nil, formats.Errorf(ID, "identifier", 4, formats.ErrNotRecognized, "no TFL3")
	}
	err := p.run()
	if ctx.Err() != nil {
		return nil, formats.Errorf(ID, "tables", -1, ctx.Err(), "stopped")
	}
	if err != nil {
		if len(p.model.Tensors) == 0 {
			return nil, &formats.Error{Format: ID, Field: "tables", Offset: -1, Err: err}
		}
		p.find("tables", formats.Unread, "the model was read in part: %v", err)
	}
	if p.clipped > 0 {
		p.find("truncated", formats.Unread, "%d tensors reach behind the end of the file", p.clipped)
	}
	return p.model, nil
}

type parser struct {
	ctx     context.Context
	src     formats.Source
	limits  formats.Limits
	in      flat
	model   *formats.Model
	buffers int64 // place of the list of buffers
	count   int64 // of buffers
	used    map[int64]bool
	clipped int
}

func (p *parser) find(code string, s formats.Severity, text string, args ...any) {
	p.model.AddFinding(p.limits.Findings, formats.Finding{Code: "tflite." + code, Severity: s,
		Text: fmt.Sprintf(text, args...), Offset: -1})
}

func (p *parser) run() error {
	root, err := p.in.follow(0)
	if err != nil {
		return err
	}
	model, err := p.in.table(root)
	if err != nil {
		return err
	}
	version, err := p.in.number(model, modelVersion, 4)
	if err != nil {
		return err
	}
	p.model.Variant = fmt.Sprintf("v%d", version)
	if s, err := p.in.text(model, modelDescription, p.limits.NameBytes); err == nil && s != "" {
		p.model.Metadata = append(p.model.Metadata, formats.KeyValue{Key: formats.Cut("description", p.limits.NameBytes), Value: s})
	}
	if p.buffers, p.count, err = p.in.list(model, modelBuffers, 4); err != nil {
		return err
	}
	p.used = map[int64]bool{}
	graphs, n, err := p.in.list(model, modelSubgraphs, 4)
	if err != nil {
		return err
	}
	for i := range n {
		if err := p.subgraph(graphs + 4*i); err != nil {
			return fmt.Errorf("sub-graph %d: %w", i, err)
		}
	}
	return p.unused()
}

func (p *parser) subgraph(entry int64) error {
	at, err := p.in.follow(entry)
	if err != nil {
		return err
	}
	graph, err := p.in.table(at)
	if err != nil {
		return err
	}
	tensors, n, err := p.in.list(graph, 0, 4)
	if err != nil {
		return err
	}
	for i := range n {
		if i%4096 == 0 && p.ctx.Err() != nil {
			return p.ctx.Err()
		}
		if err := p.tensor(tensors + 4*i); err != nil {
			if errors.Is(err, formats.ErrLimit) {
				return err
			}
			p.find("tensor", formats.Unread, "tensor %d was not read: %v", i, err)
		}
	}
	return nil
}

// tensor lists one tensor that has data.
func (p *parser) tensor(entry int64) error {
	at, err := p.in.follow(entry)
	if err != nil {
		return err
	}
	t, err := p.in.table(at)
	if err != nil {
		return err
	}
	index, err := p.in.number(t, tensorBuffer, 4)
	if err != nil {
		return err
	}
	data, err := p.buffer(int64(index))
	if err != nil || data.Length == 0 {
		return err
	}
	if len(p.model.Tensors) >= p.limits.Tensors {
		return fmt.Errorf("%w: over %d tensors", formats.ErrLimit, p.limits.Tensors)
	}
	p.used[int64(index)] = true
	out := formats.Tensor{Data: data}
	if out.Name, err = p.in.text(t, tensorName, p.limits.NameBytes); err != nil {
		return err
	}
	typ, err := p.in.number(t, tensorType, 1)
	if err != nil {
		return err
	}
	if out.Shape, err = p.shape(t); err != nil {
		return err
	}
	sparse, err := p.in.field(t, tensorSparsity)
	if err != nil {
		return err
	}
	p.fit(&out, typ, sparse != 0)
	if out.Clip() {
		p.clipped++
	}
	p.model.Tensors = append(p.model.Tensors, out)
	return nil
}

// fit gives a tensor its type, or takes it as opaque bytes where type and shape
// do not explain them.
func (p *parser) fit(out *formats.Tensor, typ uint64, sparse bool) {
	if typ < uint64(len(types)) {
		out.DType = types[typ]
	}
	n, ok := formats.Elements(out.Shape)
	if ok {
		n, ok = out.DType.StoredBytes(n)
	}
	if ok && n == out.Data.Length && !sparse {
		return
	}
	switch {
	case sparse:
		p.find("sparse", formats.Warning, "tensor %.200q is stored sparse: its bytes are taken as they are", out.Name)
	case typ == 5: // text
	default:
		p.find("size", formats.Warning, "tensor %.200q of type %d is taken as %d opaque bytes: its type and shape %v need another size", out.Name, typ, out.Data.Length, out.Shape)
	}
	out.DType, out.Shape = formats.Unknown, []int64{out.Data.Length}
}

func (p *parser) shape(t table) ([]int64, error) {
	at, n, err := p.in.list(t, tensorShape, 4)
	if err != nil || n > 64 {
		return nil, errors.Join(err, orMalformed(n))
	}
	shape := make([]int64, n)
	for i := range shape {
		v, err := p.in.U32(at + 4*int64(i))
		if err != nil {
			return nil, err
		}
		shape[i] = int64(int32(v))
	}
	return shape, nil
}

func orMalformed(n int64) error {
	if n <= 64 {
		return nil
	}
	return fmt.Errorf("%w: %d dimensions", formats.ErrMalformed, n)
}

// buffer returns the place of a buffer's data, of length 0 where it has none.
func (p *parser) buffer(index int64) (formats.Extent, error) {
	e := formats.Extent{Source: p.src}
	if index >= p.count {
		if index == 0 {
			return e, nil
		}
		return e, fmt.Errorf("%w: buffer %d of %d", formats.ErrMalformed, index, p.count)
	}
	at, err := p.in.follow(p.buffers + 4*index)
	if err != nil {
		return e, err
	}
	b, err := p.in.table(at)
	if err != nil {
		return e, err
	}
	if e.Offset, e.Length, err = p.in.vector(b, bufferData); err != nil || e.Length > 0 {
		return e, err
	}
	offset, err := p.in.number(b, bufferOffset, 8)
	if err != nil || offset <= 1 { // 1 stands for data that is not there yet
		return e, err
	}
	size, err := p.in.number(b, bufferSize, 8)
	if err == nil && (offset > 1<<62 || size > 1<<62) {
		err = fmt.Errorf("%w: buffer %d lies at %d+%d", formats.ErrTruncated, index, offset, size)
	}
	e.Offset, e.Length = int64(min(offset, 1<<62)), int64(min(size, 1<<62))
	return e, err
}

// unused lists large buffers that no tensor has: metadata, or something hidden.
func (p *parser) unused() error {
	var hidden int64
	for i := range p.count {
		if p.used[i] {
			continue
		}
		e, err := p.buffer(i)
		if err != nil {
			if errors.Is(err, formats.ErrLimit) {
				return err
			}
			p.find("buffer", formats.Unread, "buffer %d was not read: %v", i, err)
			continue
		}
		if e.Length < minUnused || len(p.model.Tensors) >= p.limits.Tensors {
			continue
		}
		t := formats.Tensor{Name: formats.Cut(fmt.Sprintf("buffer %d", i), p.limits.NameBytes), Shape: []int64{e.Length}, Data: e}
		if t.Clip() {
			p.clipped++
		}
		p.model.Tensors = append(p.model.Tensors, t)
		hidden += e.Length
	}
	if hidden > 0 {
		p.find("unused", formats.Info, "%d bytes lie in buffers that no tensor uses; they are listed as opaque", hidden)
	}
	return nil
}
