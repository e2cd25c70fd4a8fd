package tensorflow

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/snappy"

	"weightwarden/formats"
	"weightwarden/formats/internal/cursor"
)

const (
	tableMagic = 0xdb4775248b80fb57
	footerSize = 48
	trailer    = 5 // a byte for the compression and a checksum
	// maxPacked bounds a compressed block, which has to be unpacked in whole.
	maxPacked = 64 << 20
	// maxKey bounds a key; they are the names of tensors.
	maxKey = 1 << 16
)

// The ways in which blocks are stored.
const (
	storedBlock = 0
	snappyBlock = 1
)

// place is some bytes of a Source.
type place struct {
	src            formats.Source
	offset, length int64
}

// read returns the bytes of a place, of which there are at most max.
func (p place) read(max int64) ([]byte, error) {
	if p.length > max {
		return nil, fmt.Errorf("%w: an entry of %d bytes", formats.ErrLimit, p.length)
	}
	b := make([]byte, p.length)
	return b, formats.ReadFull(p.src, b, p.offset)
}

// blocks reads an SSTable as LevelDB defines it (table_format.md): blocks of
// sorted keys with shared starts, found through an index block. What values say is
// not read.
type blocks struct {
	ctx   context.Context
	src   formats.Source
	spool *formats.Spool
	left  int64 // bytes that may still be read or unpacked
}

// each visits every entry of the table in order.
func (b *blocks) each(visit func(key string, value place) error) error {
	var footer [footerSize]byte
	if err := formats.ReadFull(b.src, footer[:], b.src.Size()-footerSize); err != nil {
		return err
	}
	rest := footer[:]
	for range 2 { // the meta index, which nothing here needs
		_, n := binary.Uvarint(rest)
		if n <= 0 {
			return fmt.Errorf("%w: the footer", formats.ErrMalformed)
		}
		rest = rest[n:]
	}
	index, err := b.block(rest)
	if err != nil {
		return err
	}
	return b.entries(index, func(_ string, handle place) error {
		h, err := handle.read(2 * binary.MaxVarintLen64)
		if err != nil {
			return err
		}
		data, err := b.block(h)
		if err != nil {
			return err
		}
		return b.entries(data, visit)
	})
}

// block finds the block of a handle: offset and size.
func (b *blocks) block(handle []byte) (place, error) {
	offset, n := binary.Uvarint(handle)
	if n <= 0 {
		return place{}, fmt.Errorf("%w: the handle of a block", formats.ErrMalformed)
	}
	size, n := binary.Uvarint(handle[n:])
	total := uint64(b.src.Size())
	if n <= 0 || offset > total || size > total-offset || size+trailer > total-offset {
		return place{}, fmt.Errorf("%w: a block at %d+%d of %d", formats.ErrTruncated, offset, size, total)
	}
	p := place{b.src, int64(offset), int64(size)}
	var kind [1]byte
	if err := formats.ReadFull(b.src, kind[:], p.offset+p.length); err != nil {
		return place{}, err
	}
	switch kind[0] {
	case storedBlock:
		return p, nil
	case snappyBlock:
		return b.unpack(p)
	}
	return place{}, fmt.Errorf("%w: a block of compression %d", formats.ErrUnsupported, kind[0])
}

// unpack unpacks a compressed block.
func (b *blocks) unpack(p place) (place, error) {
	if b.left -= p.length; b.left < 0 {
		return place{}, fmt.Errorf("%w: blocks refer too often to the same bytes", formats.ErrLimit)
	}
	packed, err := p.read(maxPacked)
	if err != nil {
		return place{}, err
	}
	n, err := snappy.DecodedLen(packed)
	// Three bytes make 64 at most.
	if err != nil || n > 22*len(packed)+64 {
		return place{}, fmt.Errorf("%w: a compressed block of %d bytes", formats.ErrMalformed, len(packed))
	}
	if b.left -= int64(n); b.left < 0 || n > maxPacked {
		return place{}, fmt.Errorf("%w: a block that unpacks to %d bytes", formats.ErrLimit, n)
	}
	out, err := snappy.Decode(make([]byte, n), packed)
	if err != nil {
		return place{}, fmt.Errorf("%w: a compressed block: %v", formats.ErrMalformed, err)
	}
	src, err := b.spool.Unpack(b.ctx, bytes.NewReader(out), int64(n))
	if err != nil {
		return place{}, err
	}
	return place{src, 0, int64(n)}, nil
}

// entries visits the entries of one block. Keys share their start with the one
// before.
func (b *blocks) entries(block place, visit func(key string, value place) error) error {
	broken := fmt.Errorf("%w: a block of keys", formats.ErrMalformed)
	var last [4]byte
	if block.length < 4 {
		return broken
	}
	if err := formats.ReadFull(block.src, last[:], block.offset+block.length-4); err != nil {
		return err
	}
	restarts := int64(binary.LittleEndian.Uint32(last[:]))
	if restarts > (block.length-4)/4 {
		return broken
	}
	end := block.offset + block.length - 4 - 4*restarts
	in := cursor.New(block.src, block.offset, end, max(0, b.left))
	var key []byte
	for in.Left() > 0 {
		before := in.Offset()
		var v [3]uint64 // shared and own bytes of the key, bytes of the value
		for i := range v {
			x, err := in.Uvarint()
			if err != nil {
				return err
			}
			v[i] = x
		}
		if v[0] > uint64(len(key)) || v[1] > maxKey || v[0]+v[1] > maxKey {
			return broken
		}
		own, err := in.Next(int(v[1]))
		if err != nil {
			return err
		}
		key = append(key[:v[0]], own...)
		at := in.Offset()
		if err := in.SkipArray(v[2], 1); err != nil {
			return err
		}
		// Many index entries may lead to one block.
		if b.left -= at - before; b.left < 0 {
			return fmt.Errorf("%w: blocks refer too often to the same bytes", formats.ErrLimit)
		}
		if err := visit(string(key), place{block.src, at, int64(v[2])}); err != nil {
			return err
		}
	}
	return nil
}
