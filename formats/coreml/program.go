package coreml

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"slices"
	"strings"

	"weightwarden/formats"
	"weightwarden/formats/internal/paged"
	"weightwarden/formats/internal/protobuf"
)

// maxValues bounds the values that one operation keeps; the operators with most
// have some twenty.
const maxValues = 256

// op is an operation of a program while it is read.
type op struct {
	kind, output string
	key          string // of the entry at hand
	bound        string // name that the binding at hand refers to
	values       []named
}

type named struct {
	key string
	val
}

// val is a Value of MIL.proto: its type, and where its numbers are.
type val struct {
	at        int64
	dtype     uint64
	shape     []int64
	badShape  bool
	dim       uint64
	dimKnown  bool
	reference string // to another operation's output

	immediate bool
	field     uint64 // of TensorValue: the type of the numbers
	pieces    []protobuf.Piece
	many      bool

	blob   bool
	file   string
	offset uint64
}

func (v *val) addDim() {
	if !v.dimKnown || v.dim > 1<<62 || len(v.shape) >= 64 {
		v.badShape = true
		return
	}
	v.shape = append(v.shape, int64(v.dim))
}

// The fields of TensorValue.
const (
	floatValues  = 1
	intValues    = 2
	boolValues   = 3
	stringValues = 4
	longValues   = 5
	doubleValues = 6
	byteValues   = 7
)

// number takes a field of one of the repeated messages of TensorValue.
func (v *val) number(f protobuf.Field) error {
	if f.Number != 1 || v.field == stringValues {
		return nil
	}
	if v.field == byteValues {
		v.pieces = []protobuf.Piece{f.Piece}
		return nil
	}
	var ok bool
	if v.pieces, ok = protobuf.Append(v.pieces, f.Piece); !ok {
		v.many = true
	}
	return nil
}

// operation lists the tensors of an operation: the value of a const, and what the
// operators that unpack weights (constexpr_...) are given.
func (r *reader) operation(o *op) {
	if o.kind != "" {
		r.operations++
	}
	constant, unpacks := o.kind == "const", strings.HasPrefix(o.kind, "constexpr_")
	first := len(r.model.Tensors)
	for _, v := range o.values {
		switch {
		case unpacks && v.reference != "":
			// The name of a const that an unpacking operator uses gives way to the part it plays.
			if i, ok := r.consts[v.reference]; ok {
				r.model.Tensors[i].Name = formats.Cut(o.output+"."+v.key, r.limits.NameBytes)
			}
		case v.reference != "" || v.key == "name":
		case constant && v.key == "val":
			if n := len(r.model.Tensors); r.tensor(o.output, &v.val, true) && len(r.model.Tensors) > n {
				r.consts[o.output] = n
			}
		default:
			r.tensor(o.output+"."+v.key, &v.val, unpacks)
		}
	}
	if unpacks {
		unpackShape(r.model.Tensors[first:], o)
	}
}

// tensor lists a value; of one that stands in the message only if all is set.
func (r *reader) tensor(name string, v *val, all bool) bool {
	t := formats.Tensor{Name: name, DType: milType(v.dtype), Shape: v.shape}
	if v.badShape {
		t.DType = formats.Unknown
	}
	switch {
	case v.blob:
		r.fromFile(&t, v)
	case !all || !v.immediate || v.dtype == milString || v.field == stringValues || len(v.pieces) == 0:
		return false
	default:
		if err := r.fromMessage(&t, v); err != nil {
			r.find("numbers", formats.Unread, v.at, "tensor %.200q was not read: %v", name, err)
			return false
		}
	}
	if t.Data.Source != nil {
		r.fit(&t, v.at)
	}
	r.add(t)
	return true
}

func (r *reader) fromMessage(t *formats.Tensor, v *val) (err error) {
	if v.many {
		return fmt.Errorf("%w: numbers in too many pieces", formats.ErrLimit)
	}
	switch v.field {
	case byteValues:
		t.Data = formats.Extent{Source: r.src, Offset: v.pieces[0].Offset, Length: v.pieces[0].Length}
	case floatValues:
		t.Data, err = r.numbers(v.pieces, 4, false)
	case doubleValues:
		t.Data, err = r.numbers(v.pieces, 8, false)
	case boolValues:
		t.Data, err = r.numbers(v.pieces, 1, true)
	case intValues, longValues:
		_, wide := t.DType.Block()
		if wide < 8 || wide > 64 {
			wide = 64
		}
		t.Data, err = r.numbers(v.pieces, wide/8, true)
	default:
		err = fmt.Errorf("%w: numbers of kind %d", formats.ErrUnsupported, v.field)
	}
	return err
}

// files are the weight files of a model.
type files struct {
	names []string
	open  []*weightFile
}

type weightFile struct {
	src  formats.Source // nil where it cannot be had
	read *paged.Reader
	used map[int64]bool // offsets of data that a value told
}

// maxFiles bounds the weight files of one model, which has one.
const maxFiles = 64

// place stands for the model's folder in the names of weight files.
const place = "@model_path/"

func (r *reader) file(name string, at int64) *weightFile {
	if i := slices.Index(r.weights.names, name); i >= 0 {
		return r.weights.open[i]
	}
	w := &weightFile{used: map[int64]bool{}}
	if len(r.weights.names) >= maxFiles {
		return w
	}
	r.weights.names, r.weights.open = append(r.weights.names, name), append(r.weights.open, w)
	local := strings.TrimPrefix(name, place)
	if !formats.LocalName(local) {
		r.find("name", formats.Danger, at, "weights in the file %.200q, which lies out of the model's folder and is not followed", name)
		return w
	}
	src, err := formats.OpenSibling(r.src, local)
	switch {
	case errors.Is(err, fs.ErrInvalid):
		r.find("name", formats.Danger, at, "weights in the file %.200q are not followed: %v", name, err)
	case err != nil:
		r.find("file", formats.Unread, at, "the file %.200q and the tensors in it were not read: %v", local, err)
	default:
		w.src, w.read = src, paged.New(src, r.limits.HeaderBytes)
	}
	return w
}

// fromFile places a tensor whose value tells the offset of a blob's record.
func (r *reader) fromFile(t *formats.Tensor, v *val) {
	w := r.file(v.file, v.at)
	n, ok := formats.Elements(t.Shape)
	size, fits := t.DType.StoredBytes(n)
	if ok && fits {
		t.Data.Length = size
	}
	if w.src == nil {
		return
	}
	b, err := blob(w.read, w.src, int64(min(v.offset, 1<<62)))
	if err != nil {
		r.find("blob", formats.Unread, v.at, "tensor %.200q was not read: %v", t.Name, err)
		return
	}
	w.used[b.Data.Offset] = true
	if b.DType != t.DType && b.DType != formats.Unknown && t.DType != formats.Bool {
		r.find("type", formats.Warning, v.at, "tensor %.200q is %s in the program and %s in the file of weights", t.Name, t.DType, b.DType)
	}
	t.Data, t.Member = b.Data, formats.Cut(strings.TrimPrefix(v.file, place), r.limits.NameBytes)
}

// unnamed lists what weight files hold beside the values of the program.
func (r *reader) unnamed(ctx context.Context) {
	for i, w := range r.weights.open {
		if w.src == nil {
			continue
		}
		m, err := Decoder{}.Decode(ctx, w.src, r.limits)
		if err != nil {
			r.find("file", formats.Unread, -1, "the file of weights was read in part: %v", err)
			continue
		}
		more := 0
		for _, t := range m.Tensors {
			if !w.used[t.Data.Offset] {
				t.Member = formats.Cut(strings.TrimPrefix(r.weights.names[i], place), r.limits.NameBytes)
				r.add(t)
				more++
			}
		}
		if more > 0 {
			r.find("unnamed", formats.Warning, -1, "%d blobs of the file of weights belong to no value of the program", more)
		}
		for _, f := range m.Findings {
			r.model.AddFinding(r.limits.Findings, f)
		}
	}
}

// unpackShape gives the codes and masks of the operators of iOS 16, which are
// stored as bytes, the type and shape that they have, where these fit.
func unpackShape(parts []formats.Tensor, o *op) {
	find := func(key string) *formats.Tensor {
		for i := range parts {
			if parts[i].Name == o.output+"."+key {
				return &parts[i]
			}
		}
		return nil
	}
	shape := readInts(find("shape"))
	width := uint(1)
	packed := find("mask")
	if packed == nil {
		packed = find("indices")
		if lut := find("lut"); lut != nil && len(lut.Shape) == 1 {
			width = uint(bits.Len64(uint64(lut.Shape[0]))) - 1
		}
	}
	axis := readInts(find("axis"))
	if data := find("quantized_data"); data != nil && len(axis) == 1 {
		for _, key := range []string{"scale", "zero_point"} {
			along(find(key), data.Shape, axis[0])
		}
	}
	d, ok := map[uint]formats.DType{1: formats.U1, 2: formats.U2, 3: formats.U3, 4: formats.U4, 6: formats.U6, 8: formats.U8}[width]
	n, fits := formats.Elements(shape)
	if packed == nil || shape == nil || !ok || !fits || packed.DType != formats.U8 || len(packed.Shape) != 1 {
		return
	}
	if size, ok := d.StoredBytes(n); ok && size == packed.Data.Length {
		packed.DType, packed.Shape = d, shape
	}
}

// along turns a row of numbers that belong to an axis of a shape into a tensor of
// as many axes.
func along(t *formats.Tensor, shape []int64, axis int64) {
	if axis < 0 {
		axis += int64(len(shape))
	}
	if t == nil || len(t.Shape) != 1 || axis < 0 || axis >= int64(len(shape)) || t.Shape[0] != shape[axis] {
		return
	}
	n := t.Shape[0]
	t.Shape = slices.Repeat([]int64{1}, len(shape))
	t.Shape[axis] = n
}

// readInts reads a short list of whole numbers of 32 bits; nil where it is none.
func readInts(t *formats.Tensor) []int64 {
	if t == nil || t.Data.Source == nil || t.Data.Length > 64*4 || t.DType != formats.U32 && t.DType != formats.I32 {
		return nil
	}
	b := make([]byte, t.Data.Length)
	if formats.ReadFull(t.Data.Source, b, t.Data.Offset) != nil {
		return nil
	}
	out := make([]int64, len(b)/4)
	for i := range out {
		v := uint32(b[4*i]) | uint32(b[4*i+1])<<8 | uint32(b[4*i+2])<<16 | uint32(b[4*i+3])<<24
		if out[i] = int64(v); t.DType == formats.I32 {
			out[i] = int64(int32(v))
		}
	}
	return out
}
