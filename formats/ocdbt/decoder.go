package ocdbt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"weightwarden/formats"
	"weightwarden/formats/keyfile"
	"weightwarden/formats/zarr"
)

// ID is the format's name.
const ID formats.ID = "ocdbt"

// Manifest is the name of the file that a database begins with.
const Manifest = keyfile.OCDBT

// Decoder reads the manifest of a database with the files of its folder.
type Decoder struct{}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return ID }

// Sniff implements formats.Decoder.
func (Decoder) Sniff(head []byte) bool {
	return len(head) >= 4 && binary.BigEndian.Uint32(head) == manifestMagic
}

// Decode implements formats.Decoder.
func (Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	if err := ctx.Err(); err != nil {
		return nil, formats.Errorf(ID, "file", 0, err, "not started")
	}
	d := &decoder{ctx: ctx, src: src, limits: limits, budget: &budget{limits.HeaderBytes}, model: &formats.Model{Format: ID}, keys: map[string]*value{}}
	m, err := d.manifest()
	if err != nil {
		return nil, &formats.Error{Format: ID, Field: "manifest", Offset: 0, Err: err}
	}
	if err := d.tree(m); err != nil {
		return nil, err
	}
	if err := d.arrays(); err != nil {
		return nil, err
	}
	return d.model, nil
}

type decoder struct {
	ctx    context.Context
	src    formats.Source
	limits formats.Limits
	budget *budget
	model  *formats.Model
	keys   map[string]*value
	order  []string // keys, as the tree has them
	broken bool     // a checksum was another one
}

// value is what a key has.
type value struct {
	ref
	read bool // metadata, or a chunk of an array
}

func (d *decoder) find(code string, s formats.Severity, text string, args ...any) {
	d.model.AddFinding(d.limits.Findings, formats.Finding{Code: "ocdbt." + code, Severity: s, Offset: -1, Text: fmt.Sprintf(text, args...)})
}

// manifest reads the manifest, or the last one of those that have numbers.
func (d *decoder) manifest() (*manifest, error) {
	m, err := d.manifestOf(d.src)
	if err != nil || !m.numbered {
		return m, err
	}
	lister, ok := d.src.(formats.Lister)
	if !ok {
		return nil, fmt.Errorf("%w: the manifests with numbers cannot be reached", formats.ErrTruncated)
	}
	names, err := lister.SiblingNames(d.limits.Members)
	if err != nil {
		return nil, fmt.Errorf("%w: the manifests with numbers: %v", formats.ErrTruncated, err)
	}
	last := ""
	for _, n := range names {
		if len(n) == len("manifest.")+16 && strings.HasPrefix(n, "manifest.") && n > last {
			last = n
		}
	}
	if last == "" {
		return nil, fmt.Errorf("%w: the manifests with numbers are not there", formats.ErrTruncated)
	}
	src, err := formats.OpenSibling(d.src, last)
	if err != nil {
		return nil, fmt.Errorf("%w: manifest %q: %v", formats.ErrTruncated, last, err)
	}
	if m, err = d.manifestOf(src); err == nil && m.numbered {
		err = fmt.Errorf("%w: a manifest with a number that leads to others", formats.ErrMalformed)
	}
	return m, err
}

func (d *decoder) manifestOf(src formats.Source) (*manifest, error) {
	head := make([]byte, headBytes)
	if err := formats.ReadFull(src, head, 0); err != nil {
		return nil, err
	}
	if !(Decoder{}).Sniff(head) {
		return nil, fmt.Errorf("%w: no manifest", formats.ErrNotRecognized)
	}
	length := int64(min(binary.LittleEndian.Uint64(head[4:]), 1<<62))
	text, checked, err := body(src, 0, length, manifestMagic, d.budget)
	if err != nil {
		return nil, err
	}
	d.broken = d.broken || !checked
	return parseManifest(text, d.budget)
}

// open opens a file of the database.
func (d *decoder) open(f dataFile) (formats.Source, error) {
	name := path.Clean(f.path)
	if !formats.LocalName(f.path) {
		return nil, fmt.Errorf("%w: a file %.200q", formats.ErrMalformed, f.path)
	}
	src, err := formats.OpenSibling(d.src, name)
	if err != nil {
		return nil, fmt.Errorf("file %.200q: %w", name, err)
	}
	return src, nil
}

// tree collects the keys of the last version; the error is that of the context. What
// cannot be read costs the keys below it.
func (d *decoder) tree(m *manifest) error {
	if m.versions > 1 || m.earlier {
		d.find("versions", formats.Info, "earlier versions of the database were not read")
	}
	type step struct {
		at     entry
		height byte
		prefix string
	}
	todo := []step{{entry{ref: m.root}, m.height, ""}}
	if m.root.offset < 0 {
		todo = nil
	}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if err := d.ctx.Err(); err != nil {
			return formats.Errorf(ID, "tree", -1, err, "stopped")
		}
		n, err := d.node(s.at.ref, s.height)
		if err != nil {
			d.find("node", formats.Unread, "the keys below %.200q could not be read: %v", s.prefix, err)
			if errors.Is(err, formats.ErrLimit) {
				break
			}
			continue
		}
		for _, e := range n.entries {
			if n.height == 0 {
				d.add(s.prefix+e.key, e)
			}
		}
		for i := len(n.entries) - 1; i >= 0 && n.height > 0; i-- {
			e := n.entries[i]
			prefix := s.prefix + e.key[:e.shared]
			if len(prefix) > maxKey || d.budget.spend(int64(len(prefix))+64) != nil {
				d.find("node", formats.Unread, "the keys below %.200q are too long", prefix)
				continue
			}
			todo = append(todo, step{e, s.height - 1, prefix})
		}
	}
	if d.broken {
		d.find("checksum", formats.Warning, "a part of the tree has another checksum than it should")
	}
	return nil
}

// node reads the node at a place, which has the height that its parent says.
func (d *decoder) node(at ref, height byte) (*node, error) {
	src, err := d.open(at.file)
	if err != nil {
		return nil, err
	}
	text, checked, err := body(src, at.offset, at.length, nodeMagic, d.budget)
	if err != nil {
		return nil, err
	}
	d.broken = d.broken || !checked
	n, err := parseNode(text, at.file.base, d.budget)
	if err == nil && n.height != height {
		err = fmt.Errorf("%w: a node of height %d instead of %d", formats.ErrMalformed, n.height, height)
	}
	return n, err
}

// add keeps a key. The first value of two is what a reader finds.
func (d *decoder) add(key string, e entry) {
	if d.budget.spend(int64(len(key))+128) != nil {
		d.find("keys", formats.Unread, "key %.200q is one too many", key)
		return
	}
	if _, twice := d.keys[key]; twice {
		d.find("key", formats.Warning, "key %.200q is there twice; the second is not read", key)
		return
	}
	d.keys[key] = &value{ref: e.ref}
	d.order = append(d.order, key)
}

// extent is where the value of a key lies; without a Source where there is none.
func (d *decoder) extent(key string) (formats.Extent, error) {
	v := d.keys[key]
	if v == nil {
		return formats.Extent{}, nil
	}
	v.read = true
	if v.file.path == "" {
		return formats.Extent{Source: formats.BytesSource(v.inline), Length: int64(len(v.inline))}, nil
	}
	src, err := d.open(v.file)
	return formats.Extent{Source: src, Offset: v.offset, Length: v.length}, err
}

// arrays makes tensors of the keys that end in the name of an array's metadata, and
// then of all values that belong to none.
func (d *decoder) arrays() error {
	budget := zarr.NewBudget(d.limits)
	for _, key := range d.order {
		folder, name := path.Split(key)
		if !zarr.IsMetadata(name) {
			continue
		}
		if len(d.model.Tensors) >= d.limits.Tensors {
			d.find("tensors", formats.Unread, "more than %d arrays", d.limits.Tensors)
			break
		}
		text, err := d.text(key)
		if err == nil {
			chunks := func(key string) (formats.Extent, error) { return d.extent(folder + key) }
			title := formats.Cut(strings.TrimSuffix(folder, "/"), d.limits.NameBytes)
			err = zarr.Add(d.ctx, d.model, title, text, chunks, d.limits, budget)
		}
		switch {
		case d.ctx.Err() != nil:
			return formats.Errorf(ID, "arrays", -1, d.ctx.Err(), "stopped")
		case err != nil && !errors.Is(err, formats.ErrNotRecognized): // a group has such a key too
			d.find("array", formats.Unread, "the array of key %.200q was not read: %v", key, err)
		}
	}
	d.others()
	return nil
}

// text reads a value that is metadata.
func (d *decoder) text(key string) ([]byte, error) {
	e, err := d.extent(key)
	if err != nil {
		return nil, err
	}
	if e.Length > zarr.MaxMetadata {
		return nil, fmt.Errorf("%w: metadata of %d bytes", formats.ErrLimit, e.Length)
	}
	if err := d.budget.spend(e.Length); err != nil {
		return nil, err
	}
	b := make([]byte, e.Length)
	return b, formats.ReadFull(e.Source, b, e.Offset)
}

// isAside reports whether a value is one of the small ones that Zarr keeps beside
// arrays: attributes, groups.
func (d *decoder) isAside(key string) bool {
	return strings.HasPrefix(path.Base(key), ".z") && d.keys[key].length < 1<<10
}

// others lists values that belong to no array as they are: a chunk whose metadata
// are gone, or something hidden.
func (d *decoder) others() {
	keys := slices.DeleteFunc(d.order, func(k string) bool { return d.keys[k].read || d.isAside(k) })
	for i, key := range keys {
		if len(d.model.Tensors) >= d.limits.Tensors {
			d.find("tensors", formats.Unread, "%d values that belong to no array were not listed", len(keys)-i)
			return
		}
		e, err := d.extent(key)
		if err != nil || e.Offset > e.Source.Size() || e.Length > e.Source.Size()-e.Offset {
			d.find("value", formats.Unread, "the value of key %.200q cannot be had (%d bytes)", key, d.keys[key].length)
			continue
		}
		d.model.Tensors = append(d.model.Tensors, formats.Tensor{Name: formats.Cut(key, d.limits.NameBytes), Shape: []int64{e.Length}, Data: e})
	}
	if len(keys) > 0 {
		d.find("others", formats.Warning, "%d values belong to no array", len(keys))
	}
}
