// Package flax reads the MessagePack files of Flax (flax_model.msgpack of model hubs): nested maps
// whose leaves are arrays. Sources: flax/serialization.py of google/flax 0.12, the MessagePack specification.
//
// An array is an extension of type 1 (3 for a scalar) that holds three values: the shape, the name of the
// type as NumPy has it, and the bytes in C order. Arrays of a gibibyte and more are a map of a shape and of flat chunks.
package flax

import (
	"context"
	"errors"
	"fmt"

	"weightwarden/formats"
	"weightwarden/formats/archive"
	"weightwarden/formats/internal/cursor"
	"weightwarden/formats/internal/joined"
)

// ID is the format's name.
const ID formats.ID = "flax"

const (
	extArray  = 1
	extScalar = 3
	chunked   = "__msgpack_chunked_array__"
	// mostValues bounds the values before the first array: other MessagePack files are not read through.
	mostValues = 1 << 16
	maxAxes    = 32
)

// Decoder reads Flax's MessagePack files.
type Decoder struct{}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return ID }

// Sniff implements formats.Decoder: a map that is not empty, with a text for its first key.
func (Decoder) Sniff(head []byte) bool {
	if len(head) < 8 {
		return false
	}
	switch c := head[0]; {
	case c > 0x80 && c <= 0x8f:
		return isText(head[1])
	case c == 0xde:
		return isText(head[3])
	case c == 0xdf:
		return isText(head[5])
	}
	return false
}

func isText(marker byte) bool {
	return marker >= 0xa0 && marker <= 0xbf || marker >= 0xd9 && marker <= 0xdb
}

// Decode implements formats.Decoder.
func (Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	p := &parser{ctx: ctx, src: src, limits: limits, model: &formats.Model{Format: ID}, in: cursor.New(src, 0, src.Size(), limits.HeaderBytes)}
	p.in.SetBigEndian(true)
	err := p.value("", 0)
	if ctx.Err() != nil {
		return nil, formats.Errorf(ID, "file", p.in.Offset(), ctx.Err(), "stopped")
	}
	if len(p.model.Tensors) == 0 {
		// There is no magic number: what breaks before the first array may be anything that begins like a map.
		if err == nil {
			err = errors.New("no array in it")
		}
		return nil, formats.Errorf(ID, "value", p.in.Offset(), formats.ErrNotRecognized, "%v", err)
	}
	if err != nil {
		p.find("broken", formats.Unread, p.in.Offset(), fmt.Sprintf("the file was read up to here: %v", err))
	} else if left := p.in.Left(); left > 0 {
		p.find("after", formats.Warning, p.in.Offset(), fmt.Sprintf("%d bytes follow", left))
	}
	if p.clipped > 0 {
		p.find("truncated", formats.Unread, -1, fmt.Sprintf("the bytes of %d arrays are not all there", p.clipped))
	}
	return p.model, nil
}

type parser struct {
	ctx     context.Context
	src     formats.Source
	limits  formats.Limits
	in      *cursor.Reader
	model   *formats.Model
	values  int
	clipped int
}

func (p *parser) find(code string, s formats.Severity, offset int64, text string) {
	p.model.AddFinding(p.limits.Findings, formats.Finding{Code: "flax." + code, Severity: s, Offset: offset, Text: text})
}

// value reads one value. path names it.
func (p *parser) value(path string, depth int) error {
	if p.values++; p.values%4096 == 0 && p.ctx.Err() != nil {
		return p.ctx.Err()
	}
	if p.values > mostValues && len(p.model.Tensors) == 0 {
		return fmt.Errorf("%w: %d values and no array", formats.ErrNotRecognized, p.values)
	}
	if depth > p.limits.Depth {
		return fmt.Errorf("%w: nested over %d levels", formats.ErrLimit, p.limits.Depth)
	}
	t, err := p.token()
	if err != nil {
		return err
	}
	switch t.kind {
	case mapping:
		return p.mapping(path, t.n, depth)
	case list:
		for i := range t.n {
			if err := p.value(join(path, fmt.Sprint(i)), depth+1); err != nil {
				return err
			}
		}
	case extension:
		if t.ext == extArray || t.ext == extScalar {
			a, err := p.array(t.n)
			if err != nil {
				return fmt.Errorf("array %.200q: %w", path, err)
			}
			return p.add(path, a.shape, a.dtype, a.data, false)
		}
		return p.in.Skip(int64(t.n))
	case text, rawBytes:
		return p.in.Skip(int64(t.n))
	}
	return nil
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "/" + key
}

// mapping reads the n entries of a map, which may be the parts of one array.
func (p *parser) mapping(path string, n uint64, depth int) error {
	for range n {
		key, err := p.text()
		if err != nil {
			return err
		}
		if key == chunked {
			return p.chunks(path, n-1, depth)
		}
		if err := p.value(join(path, key), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// ndarray is an array within the file.
type ndarray struct {
	shape []int64
	dtype formats.DType
	data  formats.Extent
}

// array reads an array of n bytes.
func (p *parser) array(n uint64) (ndarray, error) {
	var a ndarray
	end := p.in.Offset() + int64(min(n, uint64(p.in.Left())))
	t, err := p.token()
	if err != nil {
		return a, err
	}
	if t.kind != list || t.n != 3 {
		return a, fmt.Errorf("%w: no shape, type and bytes", formats.ErrMalformed)
	}
	if a.shape, err = p.shape(); err != nil {
		return a, err
	}
	name, err := p.text()
	if err != nil {
		return a, err
	}
	a.dtype = dtypeOf(name)
	if t, err = p.token(); err != nil {
		return a, err
	}
	if t.kind != rawBytes && t.kind != text {
		return a, fmt.Errorf("%w: no bytes", formats.ErrMalformed)
	}
	a.data = formats.Extent{Source: p.src, Offset: p.in.Offset(), Length: int64(t.n)}
	if a.dtype == formats.Unknown {
		p.find("type", formats.Unread, a.data.Offset, fmt.Sprintf("numbers of type %.40q are bytes here", name))
	}
	if left := p.in.Left(); int64(t.n) > left { // cut: told with the tensor
		return a, p.in.Skip(left)
	}
	return a, p.in.MoveTo(max(end, p.in.Offset()+int64(t.n)))
}

// shape reads a list of axes.
func (p *parser) shape() ([]int64, error) {
	t, err := p.token()
	if err != nil {
		return nil, err
	}
	if t.kind != list || t.n > maxAxes {
		return nil, fmt.Errorf("%w: a shape of %d axes", formats.ErrMalformed, t.n)
	}
	shape := make([]int64, t.n)
	for i := range shape {
		if shape[i], err = p.number(); err != nil {
			return nil, err
		}
	}
	return shape, nil
}

func (p *parser) number() (int64, error) {
	t, err := p.token()
	if err == nil && (t.kind != integer || t.n > 1<<62) {
		err = fmt.Errorf("%w: no length", formats.ErrMalformed)
	}
	return int64(t.n), err
}

// text reads a key or a name.
func (p *parser) text() (string, error) {
	t, err := p.token()
	if err != nil {
		return "", err
	}
	if t.kind != text {
		return "", fmt.Errorf("%w: a key that is no text", formats.ErrMalformed)
	}
	s, _, err := p.in.Text(t.n, p.limits.NameBytes)
	return s, err
}

// chunks reads the rest of a map that is one array in parts: n entries and the value of the first.
func (p *parser) chunks(path string, n uint64, depth int) error {
	if err := p.value(path, depth+1); err != nil { // true
		return err
	}
	var shape []int64
	var parts []formats.Source
	dtype, cut := formats.Unknown, false
	for range n {
		key, err := p.text()
		if err != nil {
			return err
		}
		t, err := p.token()
		if err != nil {
			return err
		}
		if t.kind != mapping || key != "shape" && key != "chunks" {
			return fmt.Errorf("%w: %.40q in an array in chunks", formats.ErrMalformed, key)
		}
		for range t.n {
			if _, err := p.text(); err != nil { // "0", "1" ...
				return err
			}
			if key == "shape" {
				axis, err := p.number()
				if err != nil || len(shape) >= maxAxes {
					return errors.Join(err, formats.ErrMalformed)
				}
				shape = append(shape, axis)
				continue
			}
			a, err := p.chunk()
			if err != nil {
				return err
			}
			have := min(a.data.Length, p.src.Size()-a.data.Offset)
			parts, dtype = append(parts, archive.NewPart(p.src, a.data.Offset, have)), a.dtype
			if cut = have < a.data.Length; cut {
				break
			}
		}
	}
	whole := joined.New(parts...)
	return p.add(path, shape, dtype, formats.Extent{Source: whole, Length: whole.Size()}, cut)
}

func (p *parser) chunk() (ndarray, error) {
	t, err := p.token()
	if err == nil && (t.kind != extension || t.ext != extArray) {
		err = fmt.Errorf("%w: a chunk that is no array", formats.ErrMalformed)
	}
	if err != nil {
		return ndarray{}, err
	}
	return p.array(t.n)
}

// add lists an array; cut says that the file ends before all of its chunks.
func (p *parser) add(path string, shape []int64, d formats.DType, data formats.Extent, cut bool) error {
	if len(p.model.Tensors) >= p.limits.Tensors {
		return fmt.Errorf("%w: over %d arrays", formats.ErrLimit, p.limits.Tensors)
	}
	t := formats.Tensor{Name: formats.Cut(path, p.limits.NameBytes), DType: d, Shape: shape, Data: data}
	n, ok := formats.Elements(shape)
	want, known := d.Bytes(n)
	switch {
	case d == formats.Unknown:
		t.Shape = []int64{data.Length}
	case cut && ok && known && want > data.Length:
		t.Data.Length = want
	case !ok || !known || want != data.Length:
		p.find("size", formats.Warning, -1, fmt.Sprintf("array %.200q of shape %v has %d bytes", path, shape, data.Length))
		t.DType, t.Shape = formats.Unknown, []int64{data.Length}
	}
	if t.Clip() {
		p.clipped++
	}
	p.model.Tensors = append(p.model.Tensors, t)
	return nil
}

// dtypeOf maps the names of NumPy and ml_dtypes. What ml_dtypes has in less than a byte takes one in memory.
func dtypeOf(name string) formats.DType {
	return map[string]formats.DType{
		"float32": formats.F32, "float64": formats.F64, "float16": formats.F16, "bfloat16": formats.BF16, "complex64": formats.C64, "complex128": formats.C128,
		"int8": formats.I8, "int16": formats.I16, "int32": formats.I32, "int64": formats.I64, "uint8": formats.U8, "uint16": formats.U16, "uint32": formats.U32,
		"uint64": formats.U64, "bool": formats.Bool, "float8_e4m3fn": formats.F8E4M3, "float8_e5m2": formats.F8E5M2, "float8_e4m3fnuz": formats.F8E4M3Z,
		"float8_e5m2fnuz": formats.F8E5M2Z, "int4": formats.I8, "uint4": formats.U8,
	}[name]
}
