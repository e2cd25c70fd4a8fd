package pytorch

import (
	"bufio"
	"io"
	"unicode/utf8"

	"weightwarden/formats"
	"weightwarden/formats/archive"
	"weightwarden/formats/pytorch/pickle"
)

// makesArray reports whether a call gives a NumPy array whose bytes are in the
// pickle itself.
func makesArray(c *pickle.Call) bool {
	g, ok := c.Name()
	if !ok {
		return false
	}
	return g.Name == "_reconstruct" && c.State != nil || g.Name == "_frombuffer"
}

// array lists a NumPy array: _reconstruct with the state (version, shape, dtype,
// is Fortran, bytes), or _frombuffer(bytes, dtype, shape, order).
func (w *walker) array(c *pickle.Call, at *trail) {
	var shapeArg, dtypeArg, data pickle.Value
	var fortran bool
	if s, ok := c.State.(*pickle.Seq); ok && len(s.Items) >= 4 {
		i := len(s.Items) - 4 // old states have no version
		shapeArg, dtypeArg, data = s.Items[i], s.Items[i+1], s.Items[i+3]
		fortran, _ = s.Items[i+2].(bool)
		if n, ok := s.Items[i+2].(int64); ok {
			fortran = n != 0
		}
	} else {
		data, dtypeArg, shapeArg = c.Arg(0), c.Arg(1), c.Arg(2)
		order, _ := c.Arg(3).(string)
		fortran = order == "F"
	}
	if holds(data) { // objects, or something that is called for the bytes
		if list, ok := data.(*pickle.Seq); ok {
			w.visit(list, at)
			return
		}
	}
	dtype, big := numpyDType(dtypeArg)
	shape, okShape := ints(shapeArg)
	n, okSize := formats.Elements(shape)
	src, off, length, okBytes := w.bytesOf(data)
	if !okShape || !okSize || !okBytes {
		w.note("pytorch.array", formats.Unread, c.Offset, "array %.200q has an impossible size, or its bytes are elsewhere", at.name(w.limits.NameBytes))
		return
	}
	t := formats.Tensor{DType: dtype, Shape: shape, Data: formats.Extent{Source: src, Offset: off, Length: length, BigEndian: big}}
	if want, ok := dtype.Bytes(n); !ok || want != length {
		w.note("pytorch.array", formats.Unread, c.Offset, "array %.200q is of a type that is not known, or has another number of bytes than it should", at.name(w.limits.NameBytes))
		t.DType, t.Shape, t.Data.BigEndian = formats.Unknown, []int64{length}, false
	} else if fortran && len(shape) > 1 && n > 0 {
		t.Data.Strides = columnMajor(shape)
	}
	w.add(t, at)
}

func columnMajor(shape []int64) []int64 {
	strides := make([]int64, len(shape))
	n := int64(1)
	for i, d := range shape {
		strides[i] = n
		n *= d
	}
	return strides
}

// numpyDType reads dtype("f4") with the state (version, byte order, ...), and
// the types that ml_dtypes adds.
func numpyDType(v pickle.Value) (d formats.DType, big bool) {
	c, ok := v.(*pickle.Call)
	if !ok {
		return formats.Unknown, false
	}
	if s, ok := c.State.(*pickle.Seq); ok && len(s.Items) > 1 {
		order, _ := s.Items[1].(string)
		big = order == ">"
	}
	if g, ok := c.Arg(0).(*pickle.Global); ok {
		d, _ = torchDType(g)
		return d, big
	}
	name, _ := c.Arg(0).(string)
	if name != "" && (name[0] == '<' || name[0] == '>' || name[0] == '|' || name[0] == '=') {
		big = name[0] == '>'
		name = name[1:]
	}
	return numpyName(name), big
}

func numpyName(name string) formats.DType {
	switch name {
	case "f2":
		return formats.F16
	case "f4":
		return formats.F32
	case "f8":
		return formats.F64
	case "i1":
		return formats.I8
	case "i2":
		return formats.I16
	case "i4":
		return formats.I32
	case "i8":
		return formats.I64
	case "u1":
		return formats.U8
	case "u2":
		return formats.U16
	case "u4":
		return formats.U32
	case "u8":
		return formats.U64
	case "b1":
		return formats.Bool
	case "c8":
		return formats.C64
	case "c16":
		return formats.C128
	}
	return formats.Unknown
}

// bytesOf returns where the bytes of a bytes object lie.
func (w *walker) bytesOf(v pickle.Value) (src formats.Source, off, n int64, ok bool) {
	switch v := v.(type) {
	case *pickle.Bytes:
		return w.src, v.Offset, v.Length, !v.UTF8
	case string: // a str of Python 2
		return formats.BytesSource(v), 0, int64(len(v)), true
	case *pickle.Call: // before protocol 3: encode(text, "latin1"), or bytes() without arguments
		if g, named := v.Name(); named && g.Name == "encode" {
			return w.latin1(v.Arg(0))
		}
	}
	return nil, 0, 0, false
}

// latin1 is text whose characters are bytes.
func (w *walker) latin1(v pickle.Value) (src formats.Source, off, n int64, ok bool) {
	switch v := v.(type) {
	case string:
		out := make([]byte, 0, len(v))
		for _, r := range v {
			if r > 0xff {
				return nil, 0, 0, false
			}
			out = append(out, byte(r))
		}
		return formats.BytesSource(out), 0, int64(len(out)), true
	case *pickle.Bytes:
		text, err := formats.Section(w.src, v.Offset, v.Length)
		if err != nil {
			return nil, 0, 0, false
		}
		u := archive.NewUnpacked(w.ctx, archive.Stream{Format: id, Name: "latin1", Packed: v.Length, Open: func() (io.Reader, error) {
			return &latin1Reader{bufio.NewReaderSize(io.NewSectionReader(text, 0, v.Length), 64<<10)}, nil
		}}, w.limits)
		return u, 0, u.Size(), len(u.Findings()) == 0
	}
	return nil, 0, 0, false
}

// latin1Reader turns UTF-8 into the bytes that its characters stand for.
type latin1Reader struct{ r *bufio.Reader }

// Read implements io.Reader.
func (l *latin1Reader) Read(p []byte) (int, error) {
	for i := range p {
		r, size, err := l.r.ReadRune()
		if err != nil {
			return i, err
		}
		if r > 0xff || r == utf8.RuneError && size == 1 {
			return i, formats.Errorf(id, "latin1", -1, formats.ErrMalformed, "character %#x", r)
		}
		p[i] = byte(r)
	}
	return len(p), nil
}

// nested decodes a file that a pickle holds as bytes, which is how
// pickle.dump writes tensors, and returns its first storage.
func (w *walker) nested(c *pickle.Call) (*storage, error) {
	if st, ok := w.files[c]; ok {
		return st, nil
	}
	src, off, n, ok := w.bytesOf(c.Arg(0))
	if !ok || w.limits.Depth <= 1 {
		return nil, formats.Errorf(id, "nested file", c.Offset, formats.ErrLimit, "no bytes, or nested too deeply")
	}
	part, err := formats.Section(src, off, n)
	if err != nil {
		return nil, formats.Errorf(id, "nested file", off, formats.ErrTruncated, "%v", err)
	}
	limits := w.limits
	limits.Depth--
	m, err := Decoder{}.Decode(w.ctx, part, limits)
	if err != nil {
		return nil, err
	}
	for _, f := range m.Findings {
		w.model.AddFinding(w.limits.Findings, f)
	}
	if len(m.Tensors) == 0 || m.Tensors[0].Data.Source == nil || m.Tensors[0].Data.Strides != nil {
		return nil, formats.Errorf(id, "nested file", off, formats.ErrMalformed, "no storage in it")
	}
	t := &m.Tensors[0]
	st := &storage{src: t.Data.Source, offset: t.Data.Offset, length: t.Data.Length, dtype: t.DType, numel: t.Elements(), bigEndian: t.Data.BigEndian}
	if w.files == nil {
		w.files = map[*pickle.Call]*storage{}
	}
	w.files[c] = st
	return st, nil
}
