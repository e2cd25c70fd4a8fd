// Package sharded reads the index of a model that is kept in several files: the
// model.safetensors.index.json and pytorch_model.bin.index.json of the Hugging
// Face libraries (transformers, "Big models"), a JSON object whose weight_map
// leads from the name of a tensor to that of a file.
//
// An index may lie: every file it names is read in whole, and what the index says
// about it is only compared.
package sharded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"weightwarden/formats"
	"weightwarden/formats/internal/jsonstream"
)

// ID is the name of the index in messages. A Model has the format of its shards,
// and the variant "sharded".
const ID formats.ID = "sharded"

// maxShards bounds the files of one index; the largest models have some hundred.
const maxShards = 4096

// Decoder reads an index and the files that it names.
type Decoder struct {
	// Shards are the decoders that may read the files, in the order of trying.
	Shards []formats.Decoder
}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return ID }

// Sniff implements formats.Decoder.
func (Decoder) Sniff(head []byte) bool {
	text := bytes.TrimLeft(head, " \t\r\n")
	return len(text) > 0 && text[0] == '{' &&
		(bytes.Contains(text, []byte(`"weight_map"`)) || bytes.Contains(text, []byte(`"metadata"`)))
}

// Decode implements formats.Decoder.
func (d Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	if err := ctx.Err(); err != nil {
		return nil, formats.Errorf(ID, "file", 0, err, "not started")
	}
	r := &reader{ctx: ctx, src: src, limits: limits, model: &formats.Model{Variant: "sharded"},
		in: jsonstream.New(src, 0, min(src.Size(), limits.HeaderBytes)), files: map[string]int{}}
	err := r.object()
	if ctx.Err() != nil {
		return nil, formats.Errorf(ID, "index", r.in.Offset(), ctx.Err(), "stopped")
	}
	if !r.found {
		return nil, formats.Errorf(ID, "weight_map", -1, formats.ErrNotRecognized, "no index of shards")
	}
	if err != nil {
		if len(r.shards) == 0 {
			return nil, &formats.Error{Format: ID, Field: "weight_map", Offset: r.in.Offset(), Err: err}
		}
		r.find("index", formats.Unread, "the index was read in part: %v", err)
	}
	for i := range r.shards {
		if err := r.shard(i, d.Shards); err != nil {
			if ctx.Err() != nil {
				return nil, formats.Errorf(ID, "shard", -1, ctx.Err(), "stopped")
			}
			r.find("shard", formats.Unread, "shard %.200q was not read: %v", r.shards[i], err)
		}
	}
	r.compare()
	r.model.Format = ID
	if len(r.formats) > 0 {
		r.model.Format = formats.ID(strings.Join(r.formats, "+"))
	}
	return r.model, nil
}

// reader is the state of reading one index.
type reader struct {
	ctx     context.Context
	src     formats.Source
	limits  formats.Limits
	in      *jsonstream.Reader
	model   *formats.Model
	found   bool // a weight_map
	entries []entry
	files   map[string]int
	shards  []string
	failed  []bool // by shard
	formats []string
	over    int
}

// entry is one line of the weight_map.
type entry struct {
	name  string
	shard int32
}

func (r *reader) find(code string, s formats.Severity, text string, args ...any) {
	r.model.AddFinding(r.limits.Findings, formats.Finding{Code: "sharded." + code, Severity: s,
		Text: fmt.Sprintf(text, args...), Offset: -1})
}

func (r *reader) object() error {
	return r.in.Object(64, func(key []byte, _ bool) error {
		c, err := r.in.Peek()
		if err != nil {
			return err
		}
		switch {
		case string(key) == "weight_map" && c == '{':
			r.found = true
			return r.in.Object(r.limits.NameBytes, r.line)
		case string(key) == "metadata" && c == '{':
			return r.in.Object(r.limits.NameBytes, r.metadata)
		}
		return r.in.Skip(r.limits.Depth)
	})
}

func (r *reader) metadata(key []byte, _ bool) error {
	k := string(key)
	c, err := r.in.Peek()
	if err != nil {
		return err
	}
	var v string
	switch {
	case c == '"':
		var b []byte
		b, _, err = r.in.String(nil, r.limits.NameBytes)
		v = string(b)
	case c >= '0' && c <= '9':
		var n int64
		if n, err = r.in.Int(); errors.Is(err, formats.ErrMalformed) {
			return r.in.Skip(r.limits.Depth) // a fraction: what is left of it
		}
		v = strconv.FormatInt(n, 10)
	default:
		return r.in.Skip(r.limits.Depth)
	}
	if err == nil {
		r.model.Metadata = append(r.model.Metadata, formats.KeyValue{Key: k, Value: v})
	}
	return err
}

// line reads the name of a tensor and of its file.
func (r *reader) line(key []byte, _ bool) error {
	name := string(key)
	if c, err := r.in.Peek(); err != nil || c != '"' {
		return errors.Join(err, r.in.Skip(r.limits.Depth))
	}
	var store [256]byte
	file, cut, err := r.in.String(store[:0], r.limits.NameBytes)
	if err != nil {
		return err
	}
	i, ok := r.files[string(file)]
	if !ok {
		if cut || len(r.shards) == maxShards {
			return fmt.Errorf("%w: over %d shards, or names over %d bytes", formats.ErrLimit, maxShards, r.limits.NameBytes)
		}
		i = len(r.shards)
		r.files[string(file)] = i
		r.shards = append(r.shards, string(file))
		r.failed = append(r.failed, false)
	}
	if len(r.entries) < r.limits.Tensors {
		r.entries = append(r.entries, entry{name, int32(i)})
	}
	if len(r.entries)%4096 == 0 {
		return r.ctx.Err()
	}
	return nil
}

// shard reads one file with the first decoder that can.
func (r *reader) shard(i int, decoders []formats.Decoder) error {
	name := r.shards[i]
	r.failed[i] = true
	if !formats.LocalName(name) {
		r.find("name", formats.Danger, "the index names the shard %.200q, which leads out of the model's folder and is not followed", name)
		return nil
	}
	src, err := formats.OpenSibling(r.src, name)
	if err != nil {
		return err
	}
	head := make([]byte, min(src.Size(), formats.HeadBytes))
	if err := formats.ReadFull(src, head, 0); err != nil {
		return err
	}
	err = formats.ErrNotRecognized
	for _, d := range decoders {
		if !d.Sniff(head) {
			continue
		}
		m, err2 := d.Decode(r.ctx, src, r.limits)
		if err2 == nil {
			r.failed[i] = false
			r.adopt(name, m)
			return nil
		}
		if !errors.Is(err2, formats.ErrNotRecognized) {
			err = err2
		}
	}
	return err
}

func (r *reader) adopt(name string, m *formats.Model) {
	known := false
	for _, f := range r.formats {
		known = known || f == string(m.Format)
	}
	if !known {
		r.formats = append(r.formats, string(m.Format))
	}
	for _, f := range m.Findings {
		f.Text = fmt.Sprintf("in shard %.200q: %s", name, f.Text)
		r.model.AddFinding(r.limits.Findings, f)
	}
	if room := r.limits.Tensors - len(r.model.Tensors); len(m.Tensors) > room {
		r.over += len(m.Tensors) - room
		m.Tensors = m.Tensors[:room]
	}
	for _, t := range m.Tensors {
		if t.Member = name + "!" + t.Member; strings.HasSuffix(t.Member, "!") {
			t.Member = name
		}
		r.model.Tensors = append(r.model.Tensors, t)
	}
}

// compare holds the index against what the shards really have.
func (r *reader) compare() {
	if r.over > 0 {
		r.find("limit", formats.Unread, "%d tensors over the limit of %d were not read", r.over, r.limits.Tensors)
	}
	claimed := make(map[string]int32, len(r.entries))
	for _, e := range r.entries {
		if _, ok := claimed[e.name]; ok {
			r.find("duplicate", formats.Warning, "tensor %.200q stands in the index more than once", e.name)
		}
		claimed[e.name] = e.shard
	}
	extra := 0
	for i := range r.model.Tensors {
		t := &r.model.Tensors[i]
		shard, ok := claimed[t.Name]
		switch {
		case !ok:
			if extra++; extra <= 3 {
				r.find("extra", formats.Warning, "tensor %.200q of shard %.200q is not in the index", t.Name, t.Member)
			}
		case shard >= 0 && r.files[t.Member] != int(shard):
			r.find("moved", formats.Warning, "tensor %.200q lies in shard %.200q, not where the index says", t.Name, t.Member)
		}
		if ok {
			claimed[t.Name] = -1
		}
	}
	if extra > 3 {
		r.find("extra", formats.Warning, "%d tensors of the shards are not in the index", extra)
	}
	missing := 0
	for _, e := range r.entries {
		if claimed[e.name] >= 0 && !r.failed[e.shard] {
			if missing++; missing <= 3 {
				r.find("missing", formats.Warning, "tensor %.200q is in no shard, though the index has it", e.name)
			}
		}
	}
	if missing > 3 {
		r.find("missing", formats.Warning, "%d tensors of the index are in no shard", missing)
	}
}
