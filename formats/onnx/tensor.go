package onnx

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"weightwarden/formats"
	"weightwarden/formats/internal/protobuf"
)

// tensor is a TensorProto while it is read.
type tensor struct {
	at         int64
	name       string
	dims       []int64
	badDims    bool
	dtype      uint64
	raw        protobuf.Piece
	rawClaimed int64
	raws       int
	field      uint64 // of the typed data
	pieces     []protobuf.Piece
	mixed      bool // typed data in more than one field or too many pieces
	strings    int64

	location             uint64 // 1 for external data
	file, offset, length string
}

func (t *tensor) dim(v uint64) {
	if v > 1<<62 || len(t.dims) >= 64 {
		t.badDims = true
		return
	}
	t.dims = append(t.dims, int64(v))
}

// add notes a piece of typed data.
func (t *tensor) add(field uint64, s protobuf.Piece) {
	if t.field != 0 && t.field != field {
		t.mixed = true
		return
	}
	t.field = field
	var ok bool
	if t.pieces, ok = protobuf.Append(t.pieces, s); !ok {
		t.mixed = true
	}
}

func (t *tensor) externalEntry(key, value string) {
	switch key {
	case "location":
		t.file = value
	case "offset":
		t.offset = value
	case "length":
		t.length = value
	}
}

// emit makes a Tensor of what was read of a TensorProto.
func (p *parser) emit() {
	t := &p.t
	out := formats.Tensor{Name: t.name, Shape: append([]int64(nil), t.dims...)}
	if t.dtype == typeString || t.strings > 0 {
		if t.strings > 0 {
			p.find("strings", formats.Info, t.at, "tensor %.200q of %d bytes of text is not listed", t.name, t.strings)
		}
		return
	}
	var dt dataType
	if t.dtype < uint64(len(dataTypes)) {
		dt = dataTypes[t.dtype]
	}
	count, ok := formats.Elements(out.Shape)
	size, fits := dt.dtype.StoredBytes(count)
	if !ok || t.badDims {
		fits, out.Shape = false, nil
	}
	if fits {
		out.DType = dt.dtype
	}
	if t.raws > 1 {
		p.find("raw_data", formats.Warning, t.at, "tensor %.200q has raw_data %d times, of which the last counts", t.name, t.raws)
	}
	if t.raws > 0 && (t.location == 1 || len(t.pieces) > 0) {
		p.find("raw_data", formats.Warning, t.at, "tensor %.200q has its data in several places", t.name)
	}
	switch {
	case t.location == 1 || t.file != "" && t.raws == 0 && len(t.pieces) == 0:
		p.external(&out, size)
	case t.raws > 0:
		out.Data = formats.Extent{Source: p.src, Offset: t.raw.Offset, Length: t.rawClaimed}
	case len(t.pieces) > 0:
		p.typed(&out, dt, size, fits)
	case fits && count == 0:
		out.Data.Source = p.src
	default:
		p.missing(&out)
		return
	}
	p.recognised = p.recognised || fits && (t.file != "" || out.Data.Length == size && count > 0)
	if out.Data.Source == nil { // external data that could not be reached
		out.Data.Length = max(0, out.Data.Length)
		p.add(out)
		return
	}
	p.fit(&out, size, fits)
	if out.Clip() {
		p.clipped++
	}
	p.add(out)
}

// missing is a tensor without data. In garbage that only looks like a model every
// message does: it counts for nothing then.
func (p *parser) missing(out *formats.Tensor) {
	if p.t.name == "" && p.t.dtype == 0 {
		return
	}
	p.find("data", formats.Warning, p.t.at, "tensor %.200q has no data", out.Name)
	out.Shape, out.DType = nil, formats.Unknown
	p.add(*out)
}

// fit makes a tensor opaque whose bytes are not those its type and shape need.
func (p *parser) fit(out *formats.Tensor, size int64, fits bool) {
	if fits && out.Data.Length == size {
		return
	}
	if out.DType == formats.Unknown && !fits || out.DType != formats.Unknown {
		p.find("size", formats.Warning, p.t.at, "tensor %.200q of type %d is taken as %d opaque bytes: its type and shape %v need another size",
			out.Name, p.t.dtype, out.Data.Length, out.Shape)
	}
	out.DType, out.Shape = formats.Unknown, []int64{out.Data.Length}
}

func (p *parser) add(t formats.Tensor) {
	if len(p.model.Tensors) >= p.limits.Tensors {
		p.over++
		return
	}
	p.model.Tensors = append(p.model.Tensors, t)
}

// external is a data file that was asked for once.
type external struct {
	src formats.Source
	err error
}

// maxExternals bounds the different names of data files that are tried.
const maxExternals = 10_000

// external places a tensor whose data lies in a file beside the model. Only the
// Source decides what a name reaches; here it has to be a plain relative one.
func (p *parser) external(out *formats.Tensor, size int64) {
	t := &p.t
	name := strings.TrimPrefix(t.file, "./")
	e, ok := p.externals[name]
	if !ok {
		e = p.openExternal(name)
	}
	offset, err1 := number(t.offset, 0)
	length, err2 := number(t.length, size)
	if e.src == nil {
		out.Data.Length = max(0, length)
		return
	}
	if err1 != nil || err2 != nil {
		p.find("external", formats.Unread, t.at, "tensor %.200q has the offset %.50q and length %.50q", t.name, t.offset, t.length)
		return
	}
	if t.length == "" && size == 0 {
		length = max(0, e.src.Size()-offset)
	}
	out.Data = formats.Extent{Source: e.src, Offset: offset, Length: length}
	out.Member = name
}

func (p *parser) openExternal(name string) external {
	e := external{err: formats.ErrLimit}
	switch {
	case !formats.LocalName(name):
		e.err = fs.ErrInvalid
		p.find("external", formats.Danger, p.t.at, "external data in %.200q: the name leads out of the model's folder and is not followed", p.t.file)
	case len(p.externals) < maxExternals:
		e.src, e.err = formats.OpenSibling(p.src, name)
	}
	if e.err != nil {
		e.src = nil
		if !errors.Is(e.err, fs.ErrInvalid) {
			p.find("external", formats.Unread, p.t.at, "external data in %.200q was not read: %v", name, e.err)
		}
	}
	if p.externals == nil {
		p.externals = map[string]external{}
	}
	if len(p.externals) < maxExternals {
		p.externals[name] = e
	}
	return e
}

func number(s string, empty int64) (int64, error) {
	if s == "" {
		return empty, nil
	}
	v, err := strconv.ParseUint(s, 10, 62)
	return int64(v), err
}
