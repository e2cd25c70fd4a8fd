package safetensors

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"weightwarden/formats"
	"weightwarden/formats/internal/jsonstream"
)

// minEntry is less than the bytes of the shortest entry there can be:
// "":{"dtype":"U8","shape":[],"data_offsets":[0,0]}
const minEntry = 48

// header is the state of reading one header.
type header struct {
	ctx    context.Context
	src    formats.Source
	limits formats.Limits
	model  *formats.Model
	in     *jsonstream.Reader
	base   uint64 // of the tensors' bytes in src

	dtype  formats.DType // the last one and its name: mostly the same again
	dname  []byte
	shape  []int64 // of the entry at hand
	dims   []int64 // room for the shapes of many tensors
	keys   int     // entries seen
	extra  int     // keys of entries that the specification does not have
	clips  int     // tensors that reach behind the end of the file
	over   int     // tensors over the limit
	cutKey int     // names that were cut
}

// reserve makes room for the tensors that a header of length bytes can list, by
// counting its braces: growing step by step would take twice the memory.
func (h *header) reserve(length int64) {
	most := min(length/minEntry+1, int64(h.limits.Tensors))
	if most < 1024 {
		return
	}
	buf, count := make([]byte, 64<<10), int64(0)
	for off := int64(0); off < length; off += int64(len(buf)) {
		part := buf[:min(int64(len(buf)), length-off)]
		if formats.ReadFull(h.src, part, 8+off) != nil {
			return // the reader will say so
		}
		count += int64(bytes.Count(part, []byte{'{'}))
	}
	h.model.Tensors = make([]formats.Tensor, 0, min(most, count))
}

func (h *header) object() error {
	return h.in.Object(h.limits.NameBytes, func(key []byte, cut bool) error {
		h.keys++
		if h.keys%4096 == 0 && h.ctx.Err() != nil {
			return h.ctx.Err()
		}
		if cut {
			h.cutKey++
		}
		if string(key) == "__metadata__" {
			return h.metadata()
		}
		return h.entry(key)
	})
}

// metadata reads the map of strings; values of another kind are skipped.
func (h *header) metadata() error {
	at := h.in.Offset()
	if c, err := h.in.Peek(); err != nil || c != '{' {
		h.find("metadata", formats.Warning, at, "__metadata__ is no object")
		return errors.Join(err, h.in.Skip(h.limits.Depth))
	}
	return h.in.Object(h.limits.NameBytes, func(key []byte, _ bool) error {
		k, at := string(key), h.in.Offset()
		c, err := h.in.Peek()
		if err != nil {
			return err
		}
		if c != '"' {
			h.find("metadata", formats.Warning, at, "__metadata__ %.200q is no string", k)
			return h.in.Skip(h.limits.Depth)
		}
		v, cut, err := h.in.String(nil, h.limits.NameBytes)
		if err != nil {
			return err
		}
		if cut {
			h.find("metadata", formats.Info, at, "__metadata__ %.200q was cut to %d bytes", k, len(v))
		}
		h.model.Metadata = append(h.model.Metadata, formats.KeyValue{Key: k, Value: string(v)})
		return nil
	})
}

// raw is an entry as it stands in the header.
type raw struct {
	dtype, shape, offsets bool // seen
	begin, end            int64
	known                 bool // the dtype is one of the specification
	bad                   string
}

// entry reads the description of one tensor.
func (h *header) entry(key []byte) error {
	at := h.in.Offset()
	if c, err := h.in.Peek(); err != nil {
		return err
	} else if c != '{' {
		h.find("entry", formats.Warning, at, "entry %.200q is no object", key)
		return h.in.Skip(h.limits.Depth)
	}
	name := string(key)
	var e raw
	h.shape = h.shape[:0]
	if err := h.in.Object(64, func(key []byte, _ bool) error { return h.field(&e, key) }); err != nil {
		return err
	}
	if e.bad == "" && !(e.dtype && e.shape && e.offsets) {
		e.bad = "a key is missing"
	}
	if !e.offsets || e.begin < 0 || e.end < e.begin {
		h.find("entry", formats.Unread, at, "tensor %.200q has no extent (%s)", name, cmpOr(e.bad, "data_offsets run backwards"))
		return nil
	}
	if len(h.model.Tensors) >= h.limits.Tensors {
		h.over++
		return nil
	}
	h.add(name, at, e)
	return nil
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// field reads one key of an entry. A value of the wrong kind is remembered and
// skipped; only broken JSON is an error.
func (h *header) field(e *raw, key []byte) error {
	c, err := h.in.Peek()
	if err != nil {
		return err
	}
	switch {
	case string(key) == "dtype" && c == '"':
		if e.dtype {
			e.bad = "dtype twice"
		}
		e.dtype = true
		return h.readDType(e)
	case string(key) == "shape" && c == '[':
		if e.shape {
			e.bad = "shape twice"
		}
		e.shape = true
		h.shape, err = h.numbers(h.shape[:0], 64, e)
		return err
	case string(key) == "data_offsets" && c == '[':
		if e.offsets {
			e.bad = "data_offsets twice"
		}
		var store [2]int64
		pair, err := h.numbers(store[:0], 2, e)
		if len(pair) == 2 {
			e.begin, e.end, e.offsets = pair[0], pair[1], true
		}
		return err
	case string(key) == "dtype", string(key) == "shape", string(key) == "data_offsets":
		e.bad = string(key) + " of the wrong kind"
	default:
		h.extra++
	}
	return h.in.Skip(h.limits.Depth)
}

func (h *header) readDType(e *raw) error {
	var store [64]byte
	b, _, err := h.in.String(store[:0], len(store))
	if err != nil {
		return err
	}
	if h.dname == nil || !bytes.Equal(b, h.dname) {
		d, ok := parseDType(string(b))
		if !ok {
			h.find("dtype", formats.Warning, h.in.Offset(), "unknown dtype %q: its bytes are taken as they are", b)
			h.dname, e.known = nil, false
			return nil
		}
		h.dtype, h.dname = d, append(h.dname[:0], b...)
	}
	e.known = true
	return nil
}

// numbers reads an array of at most max natural numbers; anything else in it
// makes the entry bad.
func (h *header) numbers(dst []int64, max int, e *raw) ([]int64, error) {
	err := h.in.Array(func() error {
		c, err := h.in.Peek()
		if err != nil {
			return err
		}
		if c < '0' || c > '9' {
			e.bad = "a number is no natural one"
			return h.in.Skip(h.limits.Depth)
		}
		n, err := h.in.Int()
		if err != nil {
			if errors.Is(err, formats.ErrTruncated) {
				return err
			}
			e.bad = "a number is no natural one"
			return h.in.Skip(h.limits.Depth)
		}
		if len(dst) == max {
			e.bad = fmt.Sprintf("over %d numbers", max)
			return nil
		}
		dst = append(dst, n)
		return nil
	})
	return dst, err
}
