package tensorflow

import (
	"fmt"
	"io"
	"slices"

	"weightwarden/formats"
	"weightwarden/formats/internal/protobuf"
)

// The fields of TensorProto that hold data.
const (
	contentField = 4
	textField    = 8
	float8Field  = 18
	dataFields   = 19
)

// valueField returns the typed field of a data type and the bytes that one of its
// numbers stands for.
func valueField(dtype uint64) (field uint64, width int64) {
	switch dtype {
	case 1:
		return 5, 4
	case 2:
		return 6, 8
	case 3, 13:
		return 7, 4
	case 5, 15, 16, 17:
		return 7, 2
	case 4, 6, 11, 12:
		return 7, 1
	case 8:
		return 9, 4
	case 9:
		return 10, 8
	case 10:
		return 11, 1
	case 14, 19:
		return 13, 2
	case 18:
		return 12, 8
	case 22:
		return 16, 4
	case 23:
		return 17, 8
	case 24, 25:
		return float8Field, 1
	}
	return 0, 0
}

const (
	// maxScan bounds the bytes of numbers of variable length that are counted.
	maxScan = 512 << 20
	// maxFill bounds what repeated values of one file grow to: a few bytes may stand
	// for any number of them.
	maxFill = 16 << 20
)

// tensor is a TensorProto while it is read.
type tensor struct {
	at      int64
	dtype   uint64
	shape   []int64
	bad     bool // the shape
	dim     uint64
	content protobuf.Field
	pieces  [dataFields][]protobuf.Piece
	many    bool // too many pieces
	text    int64
}

func (t *tensor) addDim() {
	if t.dim > 1<<62 || len(t.shape) >= 64 {
		t.bad = true
		return
	}
	t.shape = append(t.shape, int64(t.dim))
}

// field takes a field of the tensor.
func (t *tensor) field(f protobuf.Field) {
	switch {
	case f.Number == 1 && f.Wire == protobuf.Varint:
		t.dtype = f.Value
	case f.Number == contentField && f.Wire == protobuf.Bytes:
		t.content = f
	case f.Number == textField && f.Wire == protobuf.Bytes:
		t.text += f.Piece.Length
	case f.Number == float8Field && f.Wire == protobuf.Bytes:
		t.pieces[float8Field] = []protobuf.Piece{f.Piece}
	case f.Number >= 5 && f.Number < float8Field && (f.Wire == protobuf.Bytes || f.Wire == numberWire(f.Number)):
		var ok bool
		if t.pieces[f.Number], ok = protobuf.Append(t.pieces[f.Number], f.Piece); !ok {
			t.many = true
		}
	}
}

// numberWire is the wire type of one number of a typed field.
func numberWire(field uint64) uint64 {
	switch field {
	case 5, 9:
		return protobuf.Fixed32
	case 6, 12:
		return protobuf.Fixed64
	}
	return protobuf.Varint
}

// emit makes a Tensor of what was read of a TensorProto.
func (g *graph) emit() {
	t := &g.t
	if t.dtype == typeString || t.text > 0 {
		g.texts++
		g.textBytes += t.text
		return
	}
	if len(g.model.Tensors) >= g.limits.Tensors {
		g.over++
		return
	}
	out := formats.Tensor{Shape: slices.Clone(t.shape)}
	if t.dtype < uint64(len(types)) {
		out.DType = types[t.dtype]
	}
	count, ok := formats.Elements(out.Shape)
	size, fits := out.DType.StoredBytes(count)
	if !ok || t.bad || !fits || out.DType == formats.Unknown {
		size = -1
	}
	if !g.place(&out, size) {
		return
	}
	if size < 0 || out.Data.Length != size {
		g.find("size", formats.Warning, t.at, "a tensor of type %d is taken as %d opaque bytes: its type and shape %v need another size",
			t.dtype, out.Data.Length, t.shape)
		out.DType, out.Shape = formats.Unknown, []int64{out.Data.Length}
	}
	if out.Clip() {
		g.clipped++
	}
	g.model.Tensors = append(g.model.Tensors, out)
}

// place finds the data of a tensor that needs size bytes, -1 where that is not
// known; false where there is none.
func (g *graph) place(out *formats.Tensor, size int64) bool {
	t := &g.t
	field, width := valueField(t.dtype)
	pieces := t.pieces[field]
	switch {
	case t.content.Claimed > 0:
		out.Data = formats.Extent{Source: g.src, Offset: t.content.Piece.Offset, Length: t.content.Claimed}
		return true
	case size == 0:
		out.Data.Source = g.src
		return true
	case field == 0:
		return g.opaque(out, "its type is not known")
	case t.many:
		return g.opaque(out, "its numbers come in too many pieces")
	case field == float8Field && len(pieces) == 1:
		out.Data = formats.Extent{Source: g.src, Offset: pieces[0].Offset, Length: pieces[0].Length}
	case len(pieces) > 0:
		if err := g.typed(out, pieces, field, width); err != nil {
			return g.opaque(out, err.Error())
		}
	}
	if size < 0 {
		return len(pieces) > 0
	}
	return out.Data.Length >= size || g.fill(out, size)
}

// typed places numbers that stand in a field of their own.
func (g *graph) typed(out *formats.Tensor, pieces []protobuf.Piece, field uint64, width int64) error {
	varint := numberWire(field) == protobuf.Varint
	if !varint && len(pieces) == 1 && pieces[0].Tag == 0 {
		out.Data = formats.Extent{Source: g.src, Offset: pieces[0].Offset, Length: pieces[0].Length}
		return nil
	}
	if varint {
		if g.scanLeft -= protobuf.Length(pieces); g.scanLeft < 0 {
			return fmt.Errorf("%w: over %d bytes of numbers of variable length", formats.ErrLimit, int64(maxScan))
		}
	}
	numbers, err := protobuf.NewNumbers(g.walk.Stopped, g.src, slices.Clone(pieces), width, varint)
	if err != nil {
		return err
	}
	out.Data = formats.Extent{Source: numbers, Length: numbers.Size()}
	return nil
}

// opaque takes the longest run of numbers as it stands in the file.
func (g *graph) opaque(out *formats.Tensor, why string) bool {
	var longest protobuf.Piece
	for _, pieces := range g.t.pieces {
		for _, s := range pieces {
			if s.Length > longest.Length {
				longest = s
			}
		}
	}
	if longest.Length == 0 {
		return false
	}
	g.find("typed", formats.Unread, g.t.at, "a tensor of type %d and shape %v: %s; %d bytes are taken as they are", g.t.dtype, g.t.shape, why, longest.Length)
	out.DType, out.Data = formats.Unknown, formats.Extent{Source: g.src, Offset: longest.Offset, Length: longest.Length}
	return true
}

// fill lets the last value stand for all that are missing, as TensorFlow does;
// zero where there is none.
func (g *graph) fill(out *formats.Tensor, size int64) bool {
	if g.fillLeft -= size; g.fillLeft < 0 {
		g.find("fill", formats.Warning, g.t.at, "a tensor of %d bytes of shape %v has values for %d; it is not unfolded", size, g.t.shape, out.Data.Length)
		return out.Data.Length > 0
	}
	width := int64(0)
	if n, ok := formats.Elements(out.Shape); ok && n > 0 {
		width = size / n
	}
	if width == 0 || out.Data.Length%width != 0 {
		return out.Data.Length > 0
	}
	out.Data = formats.Extent{Source: &filled{values: out.Data, width: width, size: size}, Length: size}
	return true
}

// filled is values of which the last repeats up to size bytes.
type filled struct {
	values      formats.Extent
	width, size int64
}

// Size implements formats.Source.
func (f *filled) Size() int64 { return f.size }

// ReadAt implements io.ReaderAt.
func (f *filled) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= f.size {
		return 0, io.EOF
	}
	var short error
	if int64(len(p)) > f.size-off {
		p, short = p[:f.size-off], io.EOF
	}
	done := 0
	if off < f.values.Length {
		n := min(int64(len(p)), f.values.Length-off)
		if err := formats.ReadFull(f.values.Source, p[:n], f.values.Offset+off); err != nil {
			return 0, err
		}
		done = int(n)
	}
	last := make([]byte, f.width)
	if done < len(p) && f.values.Length > 0 {
		if err := formats.ReadFull(f.values.Source, last, f.values.Offset+f.values.Length-f.width); err != nil {
			return done, err
		}
	}
	for i := (off + int64(done)) % f.width; done < len(p); i = 0 {
		done += copy(p[done:], last[i:])
	}
	return done, short
}
