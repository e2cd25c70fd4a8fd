package coreml

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"weightwarden/formats"
	"weightwarden/formats/internal/protobuf"
)

// netState is what was read of a layer of a neural network.
type netState struct {
	number uint64 // of the field that opens the message at hand
	names  []string
	of     *layerKind
	params params
	held   []weight
	w      weight
	times  int // how many times
}

// weight is one WeightParams.
type weight struct {
	at     int64
	field  uint64 // of the layer or the LSTM
	set    int    // of an LSTM's weights
	floats []protobuf.Piece
	half   protobuf.Piece // float16Value
	raw    protobuf.Piece
	bits   uint64
	scale  []protobuf.Piece
	bias   []protobuf.Piece
	table  []protobuf.Piece
	many   bool
}

// maxHeld bounds the weights of one layer; a custom one may have any number.
const maxHeld = 10_000

func (n *netState) open(k protobuf.Kind, at int64) {
	switch {
	case k == layer:
		n.names = append(n.names, "")
	case k == weightParams:
		n.w = weight{at: at, field: n.number, set: n.times - 1}
	case k == lstmWeights:
		n.times++
	default:
		if l := paramsOf(k); l != nil {
			n.of, n.params, n.held, n.times = l, params{numbers: map[uint64][]int64{}}, nil, 0
		}
	}
}

func (r *reader) closeNet(k protobuf.Kind) {
	n := &r.net
	switch {
	case k == layer:
		n.names = n.names[:len(n.names)-1]
	case k == weightParams:
		if len(n.held) >= maxHeld {
			r.over++
		} else {
			n.held = append(n.held, n.w)
		}
	case paramsOf(k) != nil && n.of != nil:
		for i := range n.held {
			r.weight(&n.held[i], i)
		}
		n.of, n.held = nil, nil
	}
}

func (r *reader) netField(k protobuf.Kind, f protobuf.Field) error {
	n := &r.net
	switch k {
	case layer:
		if f.Number == 1 && f.Wire == protobuf.Bytes {
			s, err := r.text(f)
			n.names[len(n.names)-1] = s
			return err
		}
	case weightParams:
		n.w.field16(f)
	case quantization:
		if f.Number == 1 && f.Wire == protobuf.Varint {
			n.w.bits = f.Value
		}
	case linearQuantization:
		switch f.Number {
		case 1:
			n.w.append(&n.w.scale, f)
		case 2:
			n.w.append(&n.w.bias, f)
		}
	case tableQuantization:
		if f.Number == 1 {
			n.w.append(&n.w.table, f)
		}
	default:
		if paramsOf(k) != nil && n.of != nil {
			return r.param(f)
		}
	}
	return nil
}

func (w *weight) field16(f protobuf.Field) {
	switch {
	case f.Number == 1:
		w.append(&w.floats, f)
	case f.Number == 2 && f.Wire == protobuf.Bytes:
		w.half = f.Piece
	case (f.Number == 30 || f.Number == 31) && f.Wire == protobuf.Bytes && f.Piece.Length > 0:
		w.raw = f.Piece
	}
}

func (w *weight) append(to *[]protobuf.Piece, f protobuf.Field) {
	if f.Wire != protobuf.Fixed32 && f.Wire != protobuf.Bytes {
		return
	}
	var ok bool
	if *to, ok = protobuf.Append(*to, f.Piece); !ok {
		w.many = true
	}
}

// param takes the numbers of a layer's parameters: one, or a packed list.
func (r *reader) param(f protobuf.Field) error {
	const most = 16
	to := r.net.params.numbers
	add := func(v uint64) {
		if len(to) < 128 && len(to[f.Number]) < most {
			to[f.Number] = append(to[f.Number], int64(min(v, 1<<61)))
		}
	}
	if f.Wire == protobuf.Varint {
		add(f.Value)
	}
	if f.Wire != protobuf.Bytes || f.Piece.Length > most*10 {
		return nil
	}
	b, err := r.walk.In.Next(int(f.Piece.Length))
	for len(b) > 0 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			break // text, or a message that holds no weights
		}
		add(v)
		b = b[n:]
	}
	return err
}

// weight lists the tensors of one WeightParams, the i-th of its layer.
func (r *reader) weight(w *weight, i int) {
	name, shape := r.weightName(w, i)
	t := formats.Tensor{Name: name}
	switch {
	case w.many:
		r.find("numbers", formats.Unread, w.at, "weight %.200q was not read: numbers in too many pieces", name)
		return
	case w.raw.Length > 0:
		r.quantized(w, name, shape)
		return
	case w.half.Length > 0:
		t.DType, t.Data = formats.F16, formats.Extent{Source: r.src, Offset: w.half.Offset, Length: w.half.Length}
	case len(w.floats) > 0:
		var err error
		if t.DType, t.Data, err = r.floats(w.floats); err != nil {
			r.find("numbers", formats.Unread, w.at, "weight %.200q was not read: %v", name, err)
			return
		}
	default:
		return
	}
	t.Shape = r.shaped(&t, shape)
	r.fit(&t, w.at)
	r.add(t)
}

func (r *reader) floats(pieces []protobuf.Piece) (formats.DType, formats.Extent, error) {
	e, err := r.numbers(pieces, 4, false)
	return formats.F32, e, err
}

// shaped is the shape that the layer tells where the tensor has as many elements,
// and one axis otherwise.
func (r *reader) shaped(t *formats.Tensor, shape []int64) []int64 {
	_, width := t.DType.Block()
	if n, ok := formats.Elements(shape); ok && len(shape) > 0 && n > 0 {
		if size, ok := t.DType.StoredBytes(n); ok && size == t.Data.Length {
			return shape
		}
	}
	return []int64{t.Data.Length * 8 / width}
}

func (r *reader) weightName(w *weight, i int) (string, []int64) {
	n := &r.net
	name := ""
	if len(n.names) > 0 {
		name = n.names[len(n.names)-1] + "."
	}
	var shape []int64
	if n.of.shape != nil {
		shape = n.of.shape(&n.params, w.field)
	}
	switch n.of.field {
	case 500:
		return fmt.Sprintf("%sweights.%d", name, i), shape
	case lstmParams:
		return name + lstmNames[w.field], shape
	case twoLSTMParams:
		return fmt.Sprintf("%s%s.%s", name, [...]string{"forward", "backward"}[min(max(w.set, 0), 1)], lstmNames[w.field]), shape
	}
	return name + n.of.weights[w.field], shape
}

// quantized lists codes, one a byte, and beside them the steps and offsets, or the
// table, that they stand for.
func (r *reader) quantized(w *weight, name string, shape []int64) {
	n, ok := formats.Elements(shape)
	width := int64(w.bits)
	if width < 1 || width > 8 {
		r.find("bits", formats.Warning, w.at, "weight %.200q has codes of %d bits", name, w.bits)
		width = 8
	}
	most := w.raw.Length * 8 / width
	if !ok || len(shape) == 0 || n == 0 || n > most || most-n >= 8 {
		shape, n = []int64{most}, most
	}
	t := formats.Tensor{Name: name + ".quantized", DType: formats.U8, Shape: shape,
		Data: formats.Extent{Source: r.src, Offset: w.raw.Offset, Length: w.raw.Length}}
	if width < 8 {
		t.Data = formats.Extent{Source: &codes{r.src, w.raw.Offset, width, n}, Length: n}
	}
	if len(w.scale)+len(w.table) == 0 { // of layers that quantise their input too
		t.DType = formats.I8
	}
	r.fit(&t, w.at)
	r.add(t)
	axis := int64(r.net.of.channelAxis(&r.net.params))
	for _, c := range []struct {
		name   string
		pieces []protobuf.Piece
	}{{".scale", w.scale}, {".offset", w.bias}, {".lut", w.table}} {
		if len(c.pieces) == 0 {
			continue
		}
		t := formats.Tensor{Name: name + c.name}
		var err error
		if t.DType, t.Data, err = r.floats(c.pieces); err != nil {
			r.find("numbers", formats.Unread, w.at, "tensor %.200q was not read: %v", t.Name, err)
			continue
		}
		if t.Shape = []int64{t.Data.Length / 4}; c.name != ".lut" {
			along(&t, shape, axis)
		}
		r.fit(&t, w.at)
		r.add(t)
	}
}

// codes are the codes of fewer than eight bits of a neural network, which start in
// the highest bits of a byte, as bytes.
type codes struct {
	src    formats.Source
	offset int64
	width  int64
	n      int64
}

// Size implements formats.Source.
func (c *codes) Size() int64 { return c.n }

// ReadAt implements io.ReaderAt.
func (c *codes) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= c.n {
		return 0, io.EOF
	}
	var short error
	if int64(len(p)) > c.n-off {
		p, short = p[:c.n-off], io.EOF
	}
	done := 0
	for part := range slices.Chunk(p, 8192) {
		first := (off + int64(done)) * c.width
		last := first + int64(len(part))*c.width
		var store [8192 + 1]byte
		b := store[:(last+7)/8-first/8]
		if err := formats.ReadFull(c.src, b, c.offset+first/8); err != nil {
			return done, err
		}
		at := uint(first % 8)
		for i := range part {
			word := uint(b[at/8]) << 8
			if int(at/8)+1 < len(b) {
				word |= uint(b[at/8+1])
			}
			part[i] = byte(word >> (16 - at%8 - uint(c.width)) & (1<<c.width - 1))
			at += uint(c.width)
		}
		done += len(part)
	}
	return done, short
}
