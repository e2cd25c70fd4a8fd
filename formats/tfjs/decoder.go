// Package tfjs reads TensorFlow.js models: a model.json whose weightsManifest
// lists groups of tensors, which lie one after the other in the joined bytes of
// the group's binary files. Source: io_utils.ts and types.ts of tensorflow/tfjs.
package tfjs

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"weightwarden/formats"
	"weightwarden/formats/internal/joined"
	"weightwarden/formats/internal/jsonstream"
)

// ID is the format's name.
const ID formats.ID = "tfjs"

// maxFiles bounds the binary files of one model; converters cut them at 4 MiB.
const maxFiles = 4096

// Decoder reads a model.json with the files that it names.
type Decoder struct{}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return ID }

// Sniff implements formats.Decoder. The manifest may stand behind a topology of
// any length.
func (Decoder) Sniff(head []byte) bool {
	text := bytes.TrimLeft(head, " \t\r\n")
	if len(text) == 0 || text[0] != '{' {
		return false
	}
	for _, key := range []string{`"weightsManifest"`, `"modelTopology"`, `"graph-model"`, `"layers-model"`} {
		if bytes.Contains(text, []byte(key)) {
			return true
		}
	}
	return false
}

// Decode implements formats.Decoder.
func (Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	if err := ctx.Err(); err != nil {
		return nil, formats.Errorf(ID, "file", 0, err, "not started")
	}
	p := &parser{ctx: ctx, src: src, limits: limits, model: &formats.Model{Format: ID},
		in: jsonstream.New(src, 0, min(src.Size(), limits.HeaderBytes))}
	err := p.object()
	if ctx.Err() != nil {
		return nil, formats.Errorf(ID, "manifest", p.in.Offset(), ctx.Err(), "stopped")
	}
	if !p.found {
		return nil, formats.Errorf(ID, "weightsManifest", -1, formats.ErrNotRecognized, "no manifest of weights")
	}
	if err != nil {
		if len(p.model.Tensors) == 0 && len(p.group.weights) == 0 {
			return nil, &formats.Error{Format: ID, Field: "weightsManifest", Offset: p.in.Offset(), Err: err}
		}
		p.place() // what of the group was read
		p.find("manifest", formats.Unread, "the manifest was read in part: %v", err)
	}
	if p.clipped > 0 {
		p.find("truncated", formats.Unread, "the bytes of %d tensors are not all there", p.clipped)
	}
	return p.model, nil
}

type parser struct {
	ctx     context.Context
	src     formats.Source
	limits  formats.Limits
	in      *jsonstream.Reader
	model   *formats.Model
	found   bool
	files   int
	group   group
	clipped int
}

// group is one entry of the manifest: its files and its tensors, in any order.
type group struct {
	paths   []string
	weights []weight
}

type weight struct {
	name     string
	shape    []int64
	dtype    string
	quantity string // the type it is stored in, if that is another one
	bad      bool
}

func (p *parser) find(code string, s formats.Severity, text string, args ...any) {
	p.model.AddFinding(p.limits.Findings, formats.Finding{Code: "tfjs." + code, Severity: s,
		Text: fmt.Sprintf(text, args...), Offset: -1})
}

func (p *parser) object() error {
	return p.in.Object(64, func(key []byte, _ bool) error {
		c, err := p.in.Peek()
		if err != nil {
			return err
		}
		switch k := string(key); {
		case k == "weightsManifest" && c == '[':
			p.found = true
			return p.in.Array(p.readGroup)
		case (k == "format" || k == "generatedBy" || k == "convertedBy") && c == '"':
			v, err := p.text(p.limits.NameBytes)
			if err == nil {
				p.model.Metadata = append(p.model.Metadata, formats.KeyValue{Key: formats.Cut(k, p.limits.NameBytes), Value: v})
			}
			return err
		}
		return p.in.Skip(1000) // topologies nest deeply, and nothing is kept of them
	})
}

func (p *parser) text(max int) (string, error) {
	b, _, err := p.in.String(nil, max)
	return string(b), err
}

func (p *parser) readGroup() error {
	p.group = group{}
	err := p.in.Object(64, func(key []byte, _ bool) error {
		c, err := p.in.Peek()
		switch {
		case err != nil:
			return err
		case string(key) == "paths" && c == '[':
			return p.in.Array(p.path)
		case string(key) == "weights" && c == '[':
			return p.in.Array(p.weight)
		}
		return p.in.Skip(p.limits.Depth)
	})
	if err != nil {
		return err
	}
	p.place()
	p.group = group{}
	return nil
}

func (p *parser) path() error {
	s, err := p.text(p.limits.NameBytes)
	if err != nil {
		return err
	}
	if p.files++; p.files > maxFiles {
		return fmt.Errorf("%w: over %d files", formats.ErrLimit, maxFiles)
	}
	p.group.paths = append(p.group.paths, s)
	return nil
}

func (p *parser) weight() error {
	if len(p.model.Tensors)+len(p.group.weights) >= p.limits.Tensors {
		return fmt.Errorf("%w: over %d tensors", formats.ErrLimit, p.limits.Tensors)
	}
	if err := p.ctx.Err(); err != nil {
		return err
	}
	var w weight
	err := p.in.Object(64, func(key []byte, _ bool) error { return p.weightField(&w, string(key)) })
	if err == nil {
		p.group.weights = append(p.group.weights, w)
	}
	return err
}

func (p *parser) weightField(w *weight, key string) error {
	c, err := p.in.Peek()
	if err != nil {
		return err
	}
	switch {
	case key == "name" && c == '"':
		w.name, err = p.text(p.limits.NameBytes)
	case key == "dtype" && c == '"':
		w.dtype, err = p.text(32)
	case key == "shape" && c == '[':
		return p.in.Array(func() error {
			n, err := p.in.Int()
			if err != nil || len(w.shape) >= 64 {
				w.bad = true
				return errors.Join(err, p.in.Skip(p.limits.Depth))
			}
			w.shape = append(w.shape, n)
			return nil
		})
	case key == "quantization" && c == '{':
		return p.in.Object(64, func(key []byte, _ bool) error {
			c, err := p.in.Peek()
			if err == nil && string(key) == "dtype" && c == '"' {
				w.quantity, err = p.text(32)
				return err
			}
			return errors.Join(err, p.in.Skip(p.limits.Depth))
		})
	default:
		return p.in.Skip(p.limits.Depth)
	}
	return err
}

// place gives the tensors of a group their bytes: each follows the one before.
func (p *parser) place() {
	src := p.open()
	offset, lost := int64(0), src == nil
	for _, w := range p.group.weights {
		t := formats.Tensor{Name: w.name}
		if w.quantity != "" {
			w.dtype = w.quantity
		}
		d, ok := dtype(w.dtype)
		n, ok2 := formats.Elements(w.shape)
		length := int64(0)
		if ok = ok && ok2 && !w.bad; ok {
			length, ok = d.Bytes(n)
		}
		switch {
		case lost:
			t.Shape, t.DType = []int64{0}, formats.Unknown
			if ok {
				t.Shape, t.DType, t.Data.Length = w.shape, d, length
			}
		case !ok || length > 1<<61-offset: // nobody knows where the next one starts
			lost = true
			rest := max(0, src.Size()-offset)
			t.Shape, t.Data = []int64{rest}, formats.Extent{Source: src, Offset: min(offset, src.Size()), Length: rest}
			p.find("dtype", formats.Unread, "tensor %.200q of type %q: from there on the group of %d tensors is taken as opaque bytes", w.name, w.dtype, len(p.group.weights))
		default:
			t.DType, t.Shape, t.Data = d, w.shape, formats.Extent{Source: src, Offset: offset, Length: length}
			offset += length
			if t.Clip() {
				p.clipped++
			}
		}
		p.model.Tensors = append(p.model.Tensors, t)
	}
	if src != nil && !lost && offset < src.Size() {
		p.find("rest", formats.Warning, "%d bytes at the end of a group belong to no tensor", src.Size()-offset)
	}
}

// open joins the files of the group, nil where one is missing.
func (p *parser) open() formats.Source {
	var parts []formats.Source
	for _, name := range p.group.paths {
		if !formats.LocalName(name) {
			p.find("name", formats.Danger, "the manifest names the file %.200q, which leads out of the model's folder and is not followed", name)
			return nil
		}
		src, err := formats.OpenSibling(p.src, name)
		if err != nil {
			p.find("file", formats.Unread, "file %.200q and the tensors of its group were not read: %v", name, err)
			return nil
		}
		parts = append(parts, src)
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return joined.New(parts...)
}

func dtype(name string) (formats.DType, bool) {
	switch name {
	case "float32":
		return formats.F32, true
	case "float16":
		return formats.F16, true
	case "int32":
		return formats.I32, true
	case "int16":
		return formats.I16, true
	case "uint16":
		return formats.U16, true
	case "int8":
		return formats.I8, true
	case "uint8":
		return formats.U8, true
	case "bool":
		return formats.Bool, true
	case "complex64":
		return formats.C64, true
	}
	return formats.Unknown, false
}
