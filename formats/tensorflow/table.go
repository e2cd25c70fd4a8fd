package tensorflow

import (
	"encoding/binary"
	"fmt"

	"weightwarden/formats"
)

const (
	tableMagic = 0xdb4775248b80fb57
	footerSize = 48
	trailer    = 5 // a byte for the compression and a checksum
	maxBlock   = 64 << 20
)

// blocks reads an SSTable as LevelDB defines it (table_format.md): blocks of
// sorted keys with shared starts, found through an index block.
type blocks struct {
	src  formats.Source
	left int64 // bytes that may still be read
}

// each visits every entry of the table in order.
func (b *blocks) each(visit func(key string, value []byte) error) error {
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
	return entries(index, func(_ string, handle []byte) error {
		data, err := b.block(handle)
		if err != nil {
			return err
		}
		return entries(data, visit)
	})
}

// block reads the block of a handle: offset and size.
func (b *blocks) block(handle []byte) ([]byte, error) {
	offset, n := binary.Uvarint(handle)
	if n <= 0 {
		return nil, fmt.Errorf("%w: the handle of a block", formats.ErrMalformed)
	}
	size, n := binary.Uvarint(handle[n:])
	total := uint64(b.src.Size())
	if n <= 0 || offset > total || size > total-offset || size+trailer > total-offset {
		return nil, fmt.Errorf("%w: a block at %d+%d of %d", formats.ErrTruncated, offset, size, total)
	}
	if b.left -= int64(size) + trailer; b.left < 0 || size > maxBlock {
		return nil, fmt.Errorf("%w: blocks of over %d bytes", formats.ErrLimit, size)
	}
	out := make([]byte, size+trailer)
	if err := formats.ReadFull(b.src, out, int64(offset)); err != nil {
		return nil, err
	}
	if kind := out[size]; kind != 0 {
		return nil, fmt.Errorf("%w: a block of compression %d", formats.ErrUnsupported, kind)
	}
	return out[:size], nil
}

// entries visits the entries of one block. Keys share their start with the one
// before.
func entries(block []byte, visit func(key string, value []byte) error) error {
	broken := fmt.Errorf("%w: a block of keys", formats.ErrMalformed)
	if len(block) < 4 {
		return broken
	}
	restarts := uint64(binary.LittleEndian.Uint32(block[len(block)-4:]))
	if restarts > uint64(len(block)-4)/4 {
		return broken
	}
	block = block[:uint64(len(block)-4)-4*restarts]
	var key []byte
	for len(block) > 0 {
		var v [3]uint64 // shared and own bytes of the key, bytes of the value
		for i := range v {
			x, n := binary.Uvarint(block)
			if n <= 0 {
				return broken
			}
			v[i], block = x, block[n:]
		}
		if v[0] > uint64(len(key)) || v[1] > uint64(len(block)) || v[2] > uint64(len(block))-v[1] || v[0]+v[1] > 1<<16 {
			return broken
		}
		key = append(key[:v[0]], block[:v[1]]...)
		if err := visit(string(key), block[v[1]:v[1]+v[2]]); err != nil {
			return err
		}
		block = block[v[1]+v[2]:]
	}
	return nil
}
