package hdf5

import (
	"bytes"
	"fmt"

	"weightwarden/formats"
)

// symbolTable reads a group of the old kind: a B-tree of symbol nodes, with the
// names in a local heap.
func (p *parser) symbolTable(o object, m message) error {
	tree, err := p.address(m.at)
	if err != nil {
		return err
	}
	heap, err := p.address(m.at + int64(p.offSize))
	if err != nil {
		return err
	}
	b, err := p.Bytes(heap, 4)
	if err != nil || string(b) != "HEAP" {
		return fmt.Errorf("%w: no local heap", formats.ErrMalformed)
	}
	names, err := p.address(heap + 8 + 2*int64(p.lenSize))
	if err != nil {
		return err
	}
	return p.tree1(tree, 0, int64(p.lenSize), func(_, child int64) error { return p.symbols(o, child, names) })
}

// tree1 visits the leaves of a B-tree of version 1 in order, with the place of the
// key in front of each. It keeps a list of nodes instead of calling itself.
func (p *parser) tree1(root int64, typ byte, keySize int64, leaf func(key, child int64) error) error {
	seen := map[int64]bool{}
	todo := []int64{root}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at < 0 || seen[at] {
			continue
		}
		seen[at] = true
		b, err := p.Bytes(at, 8)
		if err != nil {
			return err
		}
		if string(b[:4]) != "TREE" || b[4] != typ {
			return fmt.Errorf("%w: no B-tree node at offset %d", formats.ErrMalformed, at)
		}
		level, n := b[5], int64(b[6])|int64(b[7])<<8
		entry := at + 8 + 2*int64(p.offSize)
		var children []int64
		for range n {
			child, err := p.address(entry + keySize)
			if err != nil {
				return err
			}
			if level == 0 {
				if err := leaf(entry, child); err != nil {
					return err
				}
			}
			children = append(children, child)
			entry += keySize + int64(p.offSize)
		}
		for i := len(children) - 1; i >= 0 && level > 0; i-- {
			todo = append(todo, children[i])
		}
		if err := p.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// symbols reads a node of up to 65,535 names and objects.
func (p *parser) symbols(o object, at, names int64) error {
	b, err := p.Bytes(at, 8)
	if err != nil {
		return err
	}
	if string(b[:4]) != "SNOD" {
		return fmt.Errorf("%w: no symbol node at offset %d", formats.ErrMalformed, at)
	}
	n := int64(b[6]) | int64(b[7])<<8
	size := 2*int64(p.offSize) + 24
	for i := range n {
		entry := at + 8 + i*size
		nameAt, err := p.Uint(entry, p.offSize)
		if err != nil {
			return err
		}
		name, err := p.cString(names + int64(min(nameAt, 1<<62)))
		if err != nil {
			return err
		}
		child, err := p.address(entry + int64(p.offSize))
		if err != nil {
			return err
		}
		cache, err := p.U32(entry + 2*int64(p.offSize))
		if err != nil {
			return err
		}
		if cache == 2 || child < 0 {
			continue // a soft link: what it names has a place of its own
		}
		if err := p.add(o.name, name, child); err != nil {
			return err
		}
	}
	return nil
}

// cString reads a text up to a zero byte, cut to the limit of names.
func (p *parser) cString(at int64) (string, error) {
	var out []byte
	for len(out) < p.limits.NameBytes {
		n := min(64, p.End()-at)
		b, err := p.Bytes(at, int(max(n, 1)))
		if err != nil {
			return "", err
		}
		if i := bytes.IndexByte(b, 0); i >= 0 {
			return string(append(out, b[:i]...)), nil
		}
		out = append(out, b...)
		at += n
	}
	return string(out[:p.limits.NameBytes]), nil
}

// link reads a link message, which a group of the new kind has for every member.
func (p *parser) link(o object, at, size int64) error {
	end := at + size
	b, err := p.Bytes(at, 2)
	if err != nil {
		return err
	}
	flags, kind := b[1], byte(0)
	at += 2
	if flags&0x08 != 0 {
		if kind, err = p.U8(at); err != nil {
			return err
		}
		at++
	}
	if flags&0x04 != 0 {
		at += 8
	}
	if flags&0x10 != 0 {
		at++
	}
	width := 1 << (flags & 3)
	n, err := p.Uint(at, width)
	if err != nil {
		return err
	}
	at += int64(width)
	if n > uint64(max(0, end-at)) {
		return fmt.Errorf("%w: a name of %d bytes", formats.ErrTruncated, n)
	}
	text, err := p.Bytes(at, int(min(n, uint64(p.limits.NameBytes), 4096)))
	if err != nil {
		return err
	}
	name := string(text)
	switch kind {
	case 0:
		child, err := p.address(at + int64(n))
		if err != nil {
			return err
		}
		return p.add(o.name, name, child)
	case 1: // a soft link: what it names has a place of its own
	case 64:
		p.find("link", formats.Danger, "%.200q in %.200q is a link into another file, which is not followed", name, o.name)
	default:
		p.find("link", formats.Warning, "%.200q in %.200q is a link of the unknown type %d", name, o.name, kind)
	}
	return nil
}
