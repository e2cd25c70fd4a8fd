// Package npy reads NumPy's .npy files, versions 1 to 3, one array after the
// other. Source: numpy/lib/format.py. An .npz is a zip of them and is opened by
// the zip container.
//
// Arrays of Python objects are pickles; they are reported and never read as such.
package npy

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"weightwarden/formats"
	"weightwarden/formats/internal/cursor"
)

// ID is the format's name.
const ID formats.ID = "npy"

const magic = "\x93NUMPY"

// maxHeader bounds the text of one header; numpy itself refuses over 10,000.
const maxHeader = 64 << 10

// Decoder reads .npy files.
type Decoder struct{}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return ID }

// Sniff implements formats.Decoder.
func (Decoder) Sniff(head []byte) bool { return len(head) >= 6 && string(head[:6]) == magic }

// Decode implements formats.Decoder. The arrays of a file have no names: those
// behind the first are called arr_1, arr_2 and so on.
func (Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	p := &parser{src: src, limits: limits.OrDefault(), model: &formats.Model{Format: ID}}
	p.in = cursor.New(src, 0, src.Size(), p.limits.HeaderBytes)
	for {
		if err := ctx.Err(); err != nil {
			return nil, formats.Errorf(ID, "array", p.in.Offset(), err, "stopped")
		}
		more, err := p.array()
		if err != nil && len(p.model.Tensors) == 0 {
			return nil, &formats.Error{Format: ID, Field: "header", Offset: p.in.Offset(), Err: err}
		}
		if err != nil {
			p.find("array", formats.Unread, "what follows array %d was not read: %v", len(p.model.Tensors)-1, err)
		}
		if err != nil || !more {
			return p.model, nil
		}
	}
}

type parser struct {
	src    formats.Source
	limits formats.Limits
	in     *cursor.Reader
	model  *formats.Model
}

func (p *parser) find(code string, s formats.Severity, text string, args ...any) {
	p.model.AddFinding(p.limits.Findings, formats.Finding{Code: "npy." + code, Severity: s,
		Text: fmt.Sprintf(text, args...), Offset: p.in.Offset()})
}

// array reads one array; more says that bytes follow it.
func (p *parser) array() (more bool, err error) {
	h, err := p.header()
	if err != nil {
		return false, err
	}
	if len(p.model.Tensors) == p.limits.Tensors {
		return false, fmt.Errorf("%w: over %d arrays", formats.ErrLimit, p.limits.Tensors)
	}
	t := formats.Tensor{Data: formats.Extent{Source: p.src, Offset: p.in.Offset()}}
	if n := len(p.model.Tensors); n > 0 {
		t.Name = formats.Cut("arr_"+strconv.Itoa(n), p.limits.NameBytes)
	}
	length, known := p.typed(&t, h)
	if !known {
		length = p.in.Left()
		t.DType, t.Shape, t.Data.BigEndian, t.Data.Strides = formats.Unknown, []int64{length}, false, nil
	}
	t.Data.Length = length
	if length > p.in.Left() {
		p.find("truncated", formats.Unread, "the array needs %d bytes, %d are left", length, p.in.Left())
		t.Data.Strides = nil // what is there is taken in the order of the file
		t.Clip()
		p.model.Tensors = append(p.model.Tensors, t)
		return false, nil
	}
	p.model.Tensors = append(p.model.Tensors, t)
	return known && p.in.Left() > length, p.in.Skip(length)
}

// header reads the frame and the text of a header.
func (p *parser) header() (header, error) {
	var h header
	b, err := p.in.Next(8)
	if err != nil || string(b[:6]) != magic {
		if len(p.model.Tensors) > 0 {
			return h, fmt.Errorf("%w: %d bytes that are no array", formats.ErrMalformed, p.in.Left())
		}
		return h, errors.Join(formats.ErrNotRecognized, err)
	}
	var n uint32
	switch b[6] {
	case 1:
		var short uint16
		short, err = p.in.U16()
		n = uint32(short)
	case 2, 3:
		n, err = p.in.U32()
	default:
		return h, fmt.Errorf("%w: version %d", formats.ErrUnsupported, b[6])
	}
	if err != nil {
		return h, err
	}
	if n > maxHeader {
		return h, fmt.Errorf("%w: a header of %d bytes", formats.ErrLimit, n)
	}
	text, err := p.in.Next(int(n))
	if err != nil {
		return h, err
	}
	h, err = parseHeader(string(text))
	if h.extra > 0 {
		p.find("key", formats.Info, "%d keys in the header that numpy does not write", h.extra)
	}
	return h, err
}

// typed fills in type, shape and order; false where the bytes up to the end have
// to be taken as they are.
func (p *parser) typed(t *formats.Tensor, h header) (int64, bool) {
	if h.fields || h.descr == "" || len(h.descr) > 64 {
		p.find("descr", formats.Warning, "a structured type: the bytes are taken as they are")
		return 0, false
	}
	kind := h.descr
	if c := kind[0]; c == '<' || c == '>' || c == '=' || c == '|' {
		kind, t.Data.BigEndian = kind[1:], c == '>'
	}
	if kind == "O" {
		p.find("pickle", formats.Danger, "an array of Python objects: a pickle, which runs code when it is loaded")
		return 0, false
	}
	d, ok := dtype(kind)
	if !ok {
		p.find("descr", formats.Warning, "type %q: the bytes are taken as they are", h.descr)
		return 0, false
	}
	n, ok := formats.Elements(h.shape)
	if ok {
		n, ok = d.Bytes(n)
	}
	if !ok {
		p.find("shape", formats.Warning, "an impossible shape: the bytes are taken as they are")
		return 0, false
	}
	if kind == "V2" {
		p.find("descr", formats.Info, "type %q is taken as BF16, which numpy has no name for", h.descr)
	}
	t.DType, t.Shape = d, h.shape
	if h.fortran && len(h.shape) > 1 {
		stride := int64(1)
		t.Data.Strides = make([]int64, len(h.shape))
		for i, d := range h.shape {
			t.Data.Strides[i] = stride
			stride *= max(d, 1)
		}
	}
	return n, true
}

// dtype translates the kind and width of an array's type.
func dtype(kind string) (formats.DType, bool) {
	switch kind {
	case "f8":
		return formats.F64, true
	case "f4":
		return formats.F32, true
	case "f2":
		return formats.F16, true
	case "V2":
		return formats.BF16, true
	case "c8":
		return formats.C64, true
	case "c16":
		return formats.C128, true
	case "i8":
		return formats.I64, true
	case "i4":
		return formats.I32, true
	case "i2":
		return formats.I16, true
	case "i1":
		return formats.I8, true
	case "u8":
		return formats.U64, true
	case "u4":
		return formats.U32, true
	case "u2":
		return formats.U16, true
	case "u1":
		return formats.U8, true
	case "b1":
		return formats.Bool, true
	}
	return formats.Unknown, false
}
