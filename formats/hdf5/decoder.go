// Package hdf5 reads the data sets of HDF5 files, which Keras keeps its weights in
// (.h5, and model.weights.h5 inside of a .keras zip). Source: HDF5 File Format
// Specification, version 3.0 of The HDF Group.
//
// It reads superblocks 0 to 3 behind a user block of any size, both kinds of
// object headers, groups with symbol tables and with links of their own, compact,
// contiguous and chunked data sets with the filters deflate, shuffle and
// fletcher32. It never follows a link into another file: external links, external
// storage and virtual data sets are findings.
package hdf5

import (
	"context"
	"errors"
	"fmt"

	"weightwarden/formats"
	"weightwarden/formats/internal/paged"
)

// ID is the format's name.
const ID formats.ID = "hdf5"

const signature = "\x89HDF\r\n\x1a\n"

// Decoder reads one file.
type Decoder struct{}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return ID }

// Sniff implements formats.Decoder. A user block of 512 bytes or a larger power of
// two may stand in front.
func (Decoder) Sniff(head []byte) bool {
	for off := 0; off+len(signature) <= len(head); off = max(512, 2*off) {
		if string(head[off:off+len(signature)]) == signature {
			return true
		}
	}
	return false
}

// Decode implements formats.Decoder. Data sets are named by their path from the
// root group on.
func (Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	p := &parser{Reader: paged.New(src, min(limits.HeaderBytes, 64*src.Size()+1<<20)), ctx: ctx, src: src, limits: limits,
		model: &formats.Model{Format: ID}, seen: map[int64]bool{}, inflate: limits.InflatedBytes}
	if err := ctx.Err(); err != nil {
		return nil, formats.Errorf(ID, "file", 0, err, "not started")
	}
	root, err := p.superblock()
	if err != nil {
		return nil, &formats.Error{Format: ID, Field: "superblock", Offset: p.base, Err: err}
	}
	err = p.walk(root)
	if ctx.Err() != nil {
		return nil, formats.Errorf(ID, "objects", -1, ctx.Err(), "stopped")
	}
	if err != nil && len(p.model.Tensors) == 0 {
		return nil, &formats.Error{Format: ID, Field: "objects", Offset: -1, Err: err}
	}
	if err != nil {
		p.find("objects", formats.Unread, "the file was read in part: %v", err)
	}
	if p.clipped > 0 {
		p.find("truncated", formats.Unread, "%d data sets reach behind the end of the file", p.clipped)
	}
	return p.model, nil
}

type parser struct {
	*paged.Reader
	ctx    context.Context
	src    formats.Source
	limits formats.Limits
	model  *formats.Model

	base    int64 // what addresses count from
	offSize int   // bytes of an address
	lenSize int   // bytes of a length

	seen    map[int64]bool // objects that were visited, by address
	todo    []object
	inflate int64 // what compressed data sets may still unpack to
	clipped int
}

// object is a named object that is still to be looked at.
type object struct {
	name string
	at   int64
}

func (p *parser) find(code string, s formats.Severity, text string, args ...any) {
	p.model.AddFinding(p.limits.Findings, formats.Finding{Code: "hdf5." + code, Severity: s,
		Text: fmt.Sprintf(text, args...), Offset: -1})
}

// superblock finds the superblock and returns the address of the root group.
func (p *parser) superblock() (int64, error) {
	for p.base = 0; ; p.base = max(512, 2*p.base) {
		b, err := p.Bytes(p.base, 8)
		if err != nil || p.base > 1<<30 {
			p.base = 0
			return 0, fmt.Errorf("%w: no signature", formats.ErrNotRecognized)
		}
		if string(b) == signature {
			break
		}
	}
	if p.base > 0 {
		p.find("user_block", formats.Info, "a user block of %d bytes stands in front", p.base)
	}
	version, err := p.U8(p.base + 8)
	if err != nil {
		return 0, err
	}
	p.model.Variant = fmt.Sprintf("v%d", version)
	sizes, fields := p.base+13, p.base+24
	switch version {
	case 0:
	case 1:
		fields += 4
	case 2, 3:
		sizes, fields = p.base+9, p.base+12
	default:
		return 0, fmt.Errorf("%w: superblock version %d", formats.ErrUnsupported, version)
	}
	b, err := p.Bytes(sizes, 2)
	if err != nil {
		return 0, err
	}
	p.offSize, p.lenSize = int(b[0]), int(b[1])
	if !validWidth(p.offSize) || !validWidth(p.lenSize) {
		return 0, fmt.Errorf("%w: addresses of %d and lengths of %d bytes", formats.ErrMalformed, p.offSize, p.lenSize)
	}
	o := int64(p.offSize)
	base, err := p.Uint(fields, p.offSize)
	if err != nil {
		return 0, err
	}
	if base != uint64(p.base) {
		p.find("base", formats.Warning, "addresses count from %d, the signature lies at %d", base, p.base)
		p.base = int64(min(base, 1<<62))
	}
	if version < 2 {
		return p.address(fields + 4*o + o) // behind the four addresses and the name of the root's entry
	}
	return p.address(fields + 3*o)
}

func validWidth(n int) bool { return n == 2 || n == 4 || n == 8 }

// address reads an address and makes it an offset in the source; -1 is the
// undefined one.
func (p *parser) address(at int64) (int64, error) {
	v, err := p.Uint(at, p.offSize)
	if err != nil {
		return 0, err
	}
	if v == 1<<(8*p.offSize)-1 || p.offSize == 8 && v == 1<<64-1 {
		return -1, nil
	}
	if v > 1<<62 {
		return 0, fmt.Errorf("%w: address %d", formats.ErrTruncated, v)
	}
	return p.base + int64(v), nil
}

// length reads a length.
func (p *parser) length(at int64) (int64, error) {
	v, err := p.Uint(at, p.lenSize)
	if err == nil && v > 1<<62 {
		err = fmt.Errorf("%w: a length of %d", formats.ErrTruncated, v)
	}
	return int64(v), err
}

// walk visits every object below the root once. A broken one is a finding.
func (p *parser) walk(root int64) error {
	p.todo = append(p.todo, object{"", root})
	for len(p.todo) > 0 {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		o := p.todo[len(p.todo)-1]
		p.todo = p.todo[:len(p.todo)-1]
		if o.at < 0 || p.seen[o.at] {
			continue
		}
		p.seen[o.at] = true
		first := len(p.todo)
		err := p.object(o)
		// The list is a stack: turn what was found around, so that it comes in order.
		for i, j := first, len(p.todo)-1; i < j; i, j = i+1, j-1 {
			p.todo[i], p.todo[j] = p.todo[j], p.todo[i]
		}
		switch {
		case err == nil:
		case errors.Is(err, formats.ErrLimit) || o.name == "" && len(p.todo) == 0:
			return err
		default:
			p.find("object", formats.Unread, "object %.200q was not read to its end: %v", o.name, err)
		}
	}
	return nil
}

// add notes a member of a group.
func (p *parser) add(parent, name string, at int64) error {
	if len(p.todo) >= p.limits.Tensors {
		return fmt.Errorf("%w: over %d objects", formats.ErrLimit, p.limits.Tensors)
	}
	if parent != "" {
		name = parent + "/" + name
	}
	p.todo = append(p.todo, object{formats.Cut(name, p.limits.NameBytes), at})
	return nil
}
