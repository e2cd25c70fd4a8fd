package sandbox

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"weightwarden/formats"
)

// The places an extent may lie in, as the child names them.
const (
	placeNone = iota
	placeFile
	placeSpool
	placeSibling
)

const (
	maxAxes    = 4096
	replyRatio = 8 // a reply may be that many times Limits.HeaderBytes
)

// place is where an extent's Source is.
type place struct {
	kind, index uint64
	offset      int64 // of the Source in the place
}

// encoder writes a Model. The first error of the writer sticks.
type encoder struct {
	w   *bufio.Writer
	buf [binary.MaxVarintLen64]byte
	err error
}

func (e *encoder) uint(v uint64) {
	if e.err == nil {
		_, e.err = e.w.Write(binary.AppendUvarint(e.buf[:0], v))
	}
}

func (e *encoder) int(v int64) {
	if e.err == nil {
		_, e.err = e.w.Write(binary.AppendVarint(e.buf[:0], v))
	}
}

func (e *encoder) text(s string) {
	e.uint(uint64(len(s)))
	if e.err == nil {
		_, e.err = e.w.WriteString(s)
	}
}

func (e *encoder) ints(v []int64) {
	e.uint(uint64(len(v)))
	for _, x := range v {
		e.int(x)
	}
}

// model writes m; locate says where a Source is.
func (e *encoder) model(m *formats.Model, locate func(formats.Source) (place, error)) error {
	e.text(string(m.Format))
	e.text(m.Variant)
	for _, list := range [][]formats.Tensor{m.Tensors, m.Loose} {
		e.uint(uint64(len(list)))
		for i := range list {
			p, err := locate(list[i].Data.Source)
			if err != nil {
				return err
			}
			e.tensor(&list[i], p)
		}
	}
	e.uint(uint64(len(m.Metadata)))
	for _, kv := range m.Metadata {
		e.text(kv.Key)
		e.text(kv.Value)
	}
	e.uint(uint64(len(m.Findings)))
	for _, f := range m.Findings {
		e.text(f.Code)
		e.text(string(f.Severity))
		e.text(f.Text)
		e.int(f.Offset)
	}
	return e.err
}

func (e *encoder) tensor(t *formats.Tensor, p place) {
	e.text(t.Name)
	e.uint(uint64(t.DType))
	e.ints(t.Shape)
	e.text(t.Member)
	e.uint(p.kind)
	e.uint(p.index)
	e.int(t.Data.Offset + p.offset)
	e.int(t.Data.Length)
	var flags uint64
	if t.Data.Strides != nil {
		flags |= 1
	}
	if t.Data.BigEndian {
		flags |= 2
	}
	e.uint(flags)
	if t.Data.Strides != nil {
		e.ints(t.Data.Strides)
	}
}

// decoder reads what a child says. Every number is held against a limit, and
// lists grow with what was read, not with what was announced.
type decoder struct {
	r      *bufio.Reader
	limits formats.Limits
	left   int64 // bytes that the reply may still have
	gone   error // of the connection
	err    error
}

var errReply = errors.New("reply is malformed")

func (d *decoder) fail(text string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", errReply, fmt.Sprintf(text, args...))
	}
}

// ReadByte implements io.ByteReader.
func (d *decoder) ReadByte() (byte, error) {
	if d.left--; d.left < 0 {
		return 0, fmt.Errorf("%w: too long", errReply)
	}
	b, err := d.r.ReadByte()
	if err != nil {
		d.gone = err
	}
	return b, err
}

// broken keeps the first error, and tells a child that is gone from one that
// says what no number is.
func (d *decoder) broken(err error) {
	switch {
	case d.err != nil:
	case d.gone == nil && !errors.Is(err, errReply):
		d.err = fmt.Errorf("%w: %v", errReply, err)
	default:
		d.err = err
	}
}

func (d *decoder) uint(most uint64) uint64 {
	if d.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(d)
	if err != nil {
		d.broken(err)
		return 0
	}
	if v > most {
		d.fail("%d is more than %d", v, most)
		return 0
	}
	return v
}

func (d *decoder) int() int64 {
	if d.err != nil {
		return 0
	}
	v, err := binary.ReadVarint(d)
	if err != nil {
		d.broken(err)
	}
	return v
}

func (d *decoder) text() string {
	n := int64(d.uint(uint64(d.limits.NameBytes)*8 + 1024))
	if d.err != nil {
		return ""
	}
	if d.left -= n; d.left < 0 {
		d.fail("too long")
		return ""
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(d.r, b); err != nil {
		d.err = err
		return ""
	}
	return string(b)
}

func (d *decoder) ints() []int64 {
	n := d.uint(maxAxes)
	v := make([]int64, 0, min(n, 16))
	for ; n > 0 && d.err == nil; n-- {
		v = append(v, d.int())
	}
	return v
}

// model reads a Model; source returns the Source of a place.
func (d *decoder) model(source func(kind, index uint64) (formats.Source, bool)) (*formats.Model, error) {
	m := &formats.Model{Format: formats.ID(d.text()), Variant: d.text()}
	for _, list := range []*[]formats.Tensor{&m.Tensors, &m.Loose} {
		for n := d.uint(uint64(d.limits.Tensors)); n > 0 && d.err == nil; n-- {
			*list = append(*list, d.tensor(source))
		}
	}
	for n := d.uint(uint64(d.limits.HeaderBytes)); n > 0 && d.err == nil; n-- {
		m.Metadata = append(m.Metadata, formats.KeyValue{Key: d.text(), Value: d.text()})
	}
	for n := d.uint(uint64(d.limits.Findings)); n > 0 && d.err == nil; n-- {
		m.Findings = append(m.Findings, d.finding())
	}
	if d.err != nil {
		return nil, d.err
	}
	return m, nil
}

func (d *decoder) finding() formats.Finding {
	f := formats.Finding{Code: d.text(), Severity: formats.Severity(d.text()), Text: d.text(), Offset: d.int()}
	switch f.Severity {
	case formats.Info, formats.Warning, formats.Unread, formats.Danger:
	default:
		d.fail("severity %.20q", f.Severity)
	}
	return f
}

func (d *decoder) tensor(source func(kind, index uint64) (formats.Source, bool)) formats.Tensor {
	t := formats.Tensor{Name: d.text(), DType: formats.DType(d.uint(0xffff)), Shape: d.ints(), Member: d.text()}
	kind, index := d.uint(placeSibling), d.uint(1<<32)
	t.Data.Offset, t.Data.Length = d.int(), d.int()
	flags := d.uint(3)
	if flags&1 != 0 {
		t.Data.Strides = d.ints()
	}
	t.Data.BigEndian = flags&2 != 0
	if _, ok := formats.Elements(t.Shape); !ok {
		d.fail("shape %v", t.Shape)
	}
	if d.err != nil {
		return t
	}
	d.extent(&t.Data, kind, index, source)
	return t
}

// extent fills in the Source and holds the extent against it.
func (d *decoder) extent(e *formats.Extent, kind, index uint64, source func(kind, index uint64) (formats.Source, bool)) {
	if e.Offset < 0 || e.Length < 0 {
		d.fail("extent %d+%d", e.Offset, e.Length)
		return
	}
	if kind == placeNone {
		return
	}
	src, ok := source(kind, index)
	if !ok {
		d.fail("no place %d of kind %d", index, kind)
		return
	}
	if e.Offset > src.Size() || e.Length > src.Size()-e.Offset {
		d.fail("extent %d+%d of %d bytes", e.Offset, e.Length, src.Size())
		return
	}
	e.Source = src
}

// reasons are the errors that travel, by their number.
func reasons() []error {
	return []error{formats.ErrMalformed, formats.ErrNotRecognized, formats.ErrTruncated, formats.ErrLimit, formats.ErrUnsupported}
}

// failed writes an error.
func (e *encoder) failed(err error) error {
	var fe *formats.Error
	if !errors.As(err, &fe) {
		fe = &formats.Error{Format: ID, Field: "child", Offset: -1, Err: err}
	}
	number := uint64(0)
	for i, r := range reasons() {
		if errors.Is(err, r) {
			number = uint64(i)
		}
	}
	e.uint(number)
	e.text(string(fe.Format))
	e.text(formats.Cut(fe.Field, 200))
	e.int(fe.Offset)
	e.text(formats.Cut(err.Error(), 1000))
	return e.err
}

// failed reads an error.
func (d *decoder) failed() error {
	reason := reasons()[d.uint(uint64(len(reasons())-1))]
	fe := &formats.Error{Format: formats.ID(d.text()), Field: d.text(), Offset: d.int()}
	text := d.text()
	if d.err != nil {
		return d.err
	}
	fe.Err = fmt.Errorf("%w: %s", reason, text)
	return fe
}
