// Package tensorflow reads TensorFlow checkpoints and the constants of graphs.
//
// A checkpoint of version 2 (the variables of a SavedModel too) is a NAME.index,
// which is an SSTable of tensors, and the raw bytes in NAME.data-00000-of-00001 and
// so on beside it. One of version 1 is one SSTable that holds the values too.
// Sources: tensor_bundle.proto, tensor_bundle.h, saved_tensor_slice.proto and
// saved_tensor_slice_util.cc of tensorflow/tensorflow, table_format.md of
// google/leveldb.
package tensorflow

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"weightwarden/formats"
	"weightwarden/formats/internal/cursor"
)

// ID is the format's name.
const ID formats.ID = "tensorflow"

// Decoder reads one checkpoint: of version 1, or the index of one of version 2 with
// the data files beside it.
type Decoder struct{}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return ID }

// Sniff implements formats.Decoder: an SSTable is known by its end.
func (Decoder) Sniff([]byte) bool { return false }

// SniffTail implements formats.TailSniffer.
func (Decoder) SniffTail(tail []byte) bool {
	return len(tail) >= footerSize && binary.LittleEndian.Uint64(tail[len(tail)-8:]) == tableMagic
}

// types is indexed by DataType of types.proto.
var types = [...]formats.DType{1: formats.F32, 2: formats.F64, 3: formats.I32, 4: formats.U8, 5: formats.I16, 6: formats.I8,
	8: formats.C64, 9: formats.I64, 10: formats.Bool, 11: formats.I8, 12: formats.U8, 13: formats.I32, 14: formats.BF16,
	15: formats.I16, 16: formats.U16, 17: formats.U16, 18: formats.C128, 19: formats.F16, 22: formats.U32, 23: formats.U64,
	24: formats.F8E5M2, 25: formats.F8E4M3}

const typeString = 7

// Decode implements formats.Decoder.
func (d Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	if err := ctx.Err(); err != nil {
		return nil, formats.Errorf(ID, "file", 0, err, "not started")
	}
	tail := make([]byte, min(src.Size(), footerSize))
	if err := formats.ReadFull(src, tail, src.Size()-int64(len(tail))); err != nil || !d.SniffTail(tail) {
		return nil, formats.Errorf(ID, "footer", 0, formats.ErrNotRecognized, "no table")
	}
	p := &parser{ctx: ctx, src: src, limits: limits, model: &formats.Model{Format: ID, Variant: "checkpoint"}, shards: map[uint64]formats.Source{}}
	b := &blocks{ctx: ctx, src: src, spool: formats.SpoolOf(ctx, limits), left: min(limits.HeaderBytes, 64*src.Size()+1<<16)}
	err := b.each(p.entry)
	if ctx.Err() != nil {
		return nil, formats.Errorf(ID, "table", -1, ctx.Err(), "stopped")
	}
	if p.old != nil {
		p.old.finishOld()
	} else {
		p.joinSlices()
	}
	if !p.header && err == nil {
		return nil, formats.Errorf(ID, "header", 0, formats.ErrNotRecognized, "a table, but of no checkpoint")
	}
	if err != nil && len(p.model.Tensors) == 0 {
		return nil, &formats.Error{Format: ID, Field: "table", Offset: -1, Err: err}
	}
	if err != nil {
		p.find("table", formats.Unread, "the index was read in part: %v", err)
	}
	if p.clipped > 0 {
		p.find("truncated", formats.Unread, "%d tensors reach behind the end of their file", p.clipped)
	}
	return p.model, nil
}

type parser struct {
	ctx     context.Context
	src     formats.Source
	limits  formats.Limits
	model   *formats.Model
	header  bool
	count   uint64 // of data files
	big     bool
	prefix  string
	named   bool // the search for prefix is over
	shards  map[uint64]formats.Source
	clipped int
	old     *oldParser // of a checkpoint of version 1

	cuts map[string][]int // tensors that are slices, by the variable's name
	vars []sliced
}

// sliced is a variable that is stored in slices.
type sliced struct {
	name   string
	shape  []int64
	slices []cut
}

func (p *parser) find(code string, s formats.Severity, text string, args ...any) {
	p.model.AddFinding(p.limits.Findings, formats.Finding{Code: "tensorflow." + code, Severity: s,
		Text: fmt.Sprintf(text, args...), Offset: -1})
}

// message reads the fields of a small protobuf message; numbers of fixed width
// are passed over.
func message(b []byte, number func(field, v uint64), text func(field uint64, b []byte)) error {
	r := cursor.New(formats.BytesSource(b), 0, int64(len(b)), int64(len(b)))
	for r.Left() > 0 {
		tag, err := r.Uvarint()
		if err != nil {
			return err
		}
		switch tag & 7 {
		case 0:
			v, err := r.Uvarint()
			if err != nil {
				return err
			}
			number(tag>>3, v)
		case 1:
			err = r.Skip(8)
		case 2:
			n, err := r.Uvarint()
			at := r.Offset()
			if err == nil {
				err = r.SkipArray(n, 1)
			}
			if err != nil {
				return err
			}
			text(tag>>3, b[at:r.Offset()])
		case 5:
			err = r.Skip(4)
		default:
			err = fmt.Errorf("%w: wire type %d", formats.ErrMalformed, tag&7)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// item is a BundleEntryProto.
type item struct {
	dtype, shard, offset, size uint64
	shape                      []int64
	bad                        bool
	slices                     [][]extent
}

// maxEntry bounds the bytes that tell one tensor; many slices take most.
const maxEntry = 4 << 20

// entry takes one line of the table: the header under the empty key, or a tensor.
func (p *parser) entry(key string, at place) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	if p.old != nil {
		return p.old.entry(key, at)
	}
	if key == "" && !p.header && isOld(at) {
		p.header, p.model.Variant = true, "checkpoint v1"
		p.old = newOldParser(p)
		p.old.walk.Visitor = p.old
		return p.old.entry(key, at)
	}
	value, err := at.read(maxEntry)
	if err != nil {
		return err
	}
	if key == "" && !p.header {
		p.header = true
		return message(value, func(field, v uint64) {
			p.count, p.big = cmpField(field, 1, v, p.count), p.big || field == 2 && v == 1
		}, func(uint64, []byte) {})
	}
	if !p.header {
		return fmt.Errorf("%w: a table, but of no checkpoint", formats.ErrNotRecognized)
	}
	if len(p.model.Tensors) >= p.limits.Tensors {
		return fmt.Errorf("%w: over %d tensors", formats.ErrLimit, p.limits.Tensors)
	}
	var it item
	err = message(value, func(field, v uint64) {
		it.dtype, it.shard = cmpField(field, 1, v, it.dtype), cmpField(field, 3, v, it.shard)
		it.offset, it.size = cmpField(field, 4, v, it.offset), cmpField(field, 5, v, it.size)
	}, func(field uint64, b []byte) {
		switch field {
		case 2:
			it.readShape(b)
		case 7:
			it.readSlice(b)
		}
	})
	if err != nil {
		p.find("entry", formats.Unread, "the entry of tensor %.200q is broken: %v", key, err)
		return nil
	}
	p.add(key, it)
	return nil
}

func cmpField(field, want, v, old uint64) uint64 {
	if field == want {
		return v
	}
	return old
}

// readShape reads a TensorShapeProto: dimensions in field 2, their size in field 1.
func (it *item) readShape(b []byte) {
	err := message(b, func(uint64, uint64) {}, func(field uint64, dim []byte) {
		if field != 2 {
			return
		}
		n := uint64(0)
		if message(dim, func(field, v uint64) { n = cmpField(field, 1, v, n) }, func(uint64, []byte) {}) != nil || n > 1<<62 || len(it.shape) == 64 {
			it.bad = true
			return
		}
		it.shape = append(it.shape, int64(n))
	})
	it.bad = it.bad || err != nil
}

// readSlice reads a TensorSliceProto: an extent for each axis, of start and length.
func (it *item) readSlice(b []byte) {
	var out []extent
	err := message(b, func(uint64, uint64) {}, func(field uint64, axis []byte) {
		var e extent
		err := message(axis, func(field, v uint64) {
			e.start, e.length = int64(cmpField(field, 1, v, uint64(e.start))), int64(cmpField(field, 2, v, uint64(e.length)))
			e.part = e.part || field == 2
		}, func(uint64, []byte) {})
		it.bad = it.bad || err != nil
		if field == 1 && len(out) < 64 {
			out = append(out, e)
		}
	})
	it.bad = it.bad || err != nil
	it.slices = append(it.slices, out)
}

// add lists a tensor. One that is only cut into slices has no bytes of its own: the
// slices stand under keys that are no text, in front.
func (p *parser) add(key string, it item) {
	if len(it.slices) > 0 && it.size == 0 {
		p.cutVariable(key, it)
	}
	if len(it.slices) > 0 && it.size == 0 || it.dtype == typeString {
		return
	}
	t := formats.Tensor{Name: formats.Cut(sliceName(key), p.limits.NameBytes), Shape: it.shape}
	if it.dtype < uint64(len(types)) {
		t.DType = types[it.dtype]
	}
	t.Data = formats.Extent{Source: p.shard(it.shard), Offset: int64(min(it.offset, 1<<61)), Length: int64(min(it.size, 1<<61)), BigEndian: p.big}
	n, ok := formats.Elements(it.shape)
	if need, fits := t.DType.StoredBytes(n); !ok || it.bad || !fits || need != t.Data.Length {
		p.find("size", formats.Warning, "tensor %.200q of type %d is taken as %d opaque bytes: its type and shape need another size", t.Name, it.dtype, t.Data.Length)
		t.DType, t.Shape, t.Data.BigEndian = formats.Unknown, []int64{t.Data.Length}, false
	}
	if t.Data.Source != nil {
		t.Member = p.shardName(it.shard)
	}
	if t.Clip() {
		p.clipped++
	}
	if name := sliceName(key); name != key {
		if p.cuts == nil {
			p.cuts = map[string][]int{}
		}
		p.cuts[name] = append(p.cuts[name], len(p.model.Tensors))
	}
	p.model.Tensors = append(p.model.Tensors, t)
}

// cutVariable notes where the slices of a variable belong.
func (p *parser) cutVariable(name string, it item) {
	v := sliced{name: name, shape: it.shape}
	for _, s := range it.slices {
		c, ok := cutOf(s, it.shape)
		if !ok || it.bad {
			p.find("slices", formats.Warning, "variable %.200q has slices out of its shape %v", name, it.shape)
			return
		}
		v.slices = append(v.slices, c)
	}
	p.vars = append(p.vars, v)
}

// joinSlices makes one tensor of the slices of each variable. The keys of slices
// are in the order of where these begin.
func (p *parser) joinSlices() {
	gone := map[int]bool{}
	for _, v := range p.vars {
		at := p.cuts[v.name]
		slices.SortStableFunc(v.slices, func(a, b cut) int { return slices.Compare(a.start, b.start) })
		var pieces []piece
		for i, c := range v.slices {
			if len(at) == len(v.slices) {
				pieces = append(pieces, piece{at[i], c})
			}
		}
		if !assemble(p.model.Tensors, v.shape, pieces, gone) && len(at) > 0 {
			p.find("slices", formats.Info, "the %d slices of variable %.200q are listed one by one", len(at), v.name)
		}
	}
	drop(p.model, gone)
}

// sliceName is the tensor's name in the key of a slice, and any other key itself.
// The key is an ordered code: the number 0, which is a byte of 0, the name with its
// end marked by 0 1, and the extent (tensor_slice_util.h, ordered_code.h).
func sliceName(key string) string {
	if rest, ok := strings.CutPrefix(key, "\x00"); ok {
		if name, _, ok := strings.Cut(rest, "\x00\x01"); ok {
			return name
		}
	}
	return key
}

func (p *parser) shardName(i uint64) string {
	return formats.Cut(fmt.Sprintf("%s.data-%05d-of-%05d", p.prefix, i, p.count), p.limits.NameBytes)
}

// maxShards bounds the data files that are opened.
const maxShards = 4096

// shard returns the data file of a number, nil where it cannot be had.
func (p *parser) shard(i uint64) formats.Source {
	if s, ok := p.shards[i]; ok || len(p.shards) >= maxShards {
		return s
	}
	var s formats.Source
	err := p.findPrefix()
	if err == nil {
		s, err = formats.OpenSibling(p.src, fmt.Sprintf("%s.data-%05d-of-%05d", p.prefix, i, p.count))
	}
	if err != nil {
		s = nil
		p.find("shard", formats.Unread, "data file %d of %d was not read: %v", i, p.count, err)
	}
	p.shards[i] = s
	return s
}

var errNoName = errors.New("no file of the folder is this index")

// findPrefix finds the name of the checkpoint. A Source knows no name of its own:
// it is that of the index in the folder that has the same bytes.
func (p *parser) findPrefix() error {
	lister, ok := p.src.(formats.Lister)
	if p.named || !ok {
		if p.prefix == "" {
			return errNoName
		}
		return nil
	}
	p.named = true
	names, err := lister.SiblingNames(10_000)
	if err != nil {
		return err
	}
	for _, name := range names {
		prefix, ok := strings.CutSuffix(name, ".index")
		if !ok || prefix == "" {
			continue
		}
		if s, err := formats.OpenSibling(p.src, name); err == nil && same(p.src, s) {
			p.prefix = prefix
			return nil
		}
	}
	return errNoName
}

func same(a, b formats.Source) bool {
	n := min(a.Size(), 64<<10)
	x, y := make([]byte, n), make([]byte, n)
	return a.Size() == b.Size() && formats.ReadFull(a, x, a.Size()-n) == nil && formats.ReadFull(b, y, b.Size()-n) == nil && bytes.Equal(x, y)
}
