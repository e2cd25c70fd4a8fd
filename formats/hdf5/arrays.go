package hdf5

import (
	"fmt"
	"math/bits"

	"weightwarden/formats"
	"weightwarden/formats/internal/tiles"
)

// order is how arrays number the chunks of a data set: by the shape that it may
// grow to, the axis without a bound first.
type order struct {
	grid  []int64 // chunks that the data set has, by axis
	most  []int64 // chunks that it may have; of an axis without a bound, unlimited
	grows int     // that axis, -1 for none
	total int64   // chunks in all, of which not all need be there
}

// newOrder returns the order of a data set's chunks; false where it has more than
// one axis without a bound, or sizes overflow.
func newOrder(d *dataset, s *tiles.Source) (o order, ok bool) {
	o = order{grid: s.Grid, grows: -1, total: 1}
	for i, most := range d.most {
		n := s.Grid[i]
		switch {
		case most != unlimited:
			n = max(n, (most-1)/d.chunk[i]+1)
		case o.grows >= 0:
			return o, false
		default:
			o.grows = i
		}
		if o.total > (1<<40)/n {
			return o, false
		}
		o.most, o.total = append(o.most, n), o.total*n
	}
	return o, len(o.most) == len(o.grid)
}

// index returns the place in the grid of the chunk with a number; false where the
// data set does not reach so far.
func (o *order) index(number int64) (index int64, ok bool) {
	var store [32]int64 // a data set has no more axes
	at := store[:len(o.most)]
	for i := len(o.most) - 1; i >= 0; i-- {
		if i != o.grows {
			at[i], number = number%o.most[i], number/o.most[i]
		}
	}
	if o.grows >= 0 {
		at[o.grows], number = number, 0
	}
	if number > 0 {
		return 0, false
	}
	for i, x := range at {
		if x >= o.grid[i] {
			return 0, false
		}
		index = index*o.grid[i] + x
	}
	return index, true
}

// elements are the entries of an array of chunks.
type elements struct {
	p        *parser
	order    order
	add      func(chunk) error
	plain    int64 // bytes of a chunk that no filter changed
	filtered bool
	size     int64 // bytes of an entry
}

func (p *parser) newElements(d *dataset, s *tiles.Source, client, size byte, add func(chunk) error) (*elements, error) {
	e := &elements{p: p, add: add, plain: s.ChunkBytes, filtered: client == 1, size: int64(size)}
	var ok bool
	if e.order, ok = newOrder(d, s); !ok {
		return nil, fmt.Errorf("%w: an array of chunks for a shape of %v", formats.ErrMalformed, d.most)
	}
	if least := int64(p.offSize); e.size < least || e.filtered && e.size < least+5 || e.size > 64 {
		return nil, fmt.Errorf("%w: an array of entries of %d bytes", formats.ErrMalformed, size)
	}
	return e, nil
}

// read takes n entries from one place on, of chunks from a number on.
func (e *elements) read(at, number, n int64) error {
	for i := range n {
		entry := at + i*e.size
		address, err := e.p.address(entry)
		if err != nil {
			return err
		}
		index, ok := e.order.index(number + i)
		if !ok || address < 0 {
			continue
		}
		c := chunk{index: index, at: address, size: e.plain}
		if e.filtered {
			width := int(e.size) - e.p.offSize - 4
			size, err := e.p.Uint(entry+int64(e.p.offSize), min(width, 8))
			if err != nil {
				return err
			}
			c.size = int64(min(size, 1<<62))
			if c.mask, err = e.p.U32(entry + e.size - 4); err != nil {
				return err
			}
		}
		if err := e.add(c); err != nil {
			return err
		}
	}
	return nil
}

// fixedArray lists the chunks of a data set that cannot grow without a bound.
func (p *parser) fixedArray(d *dataset, s *tiles.Source, add func(chunk) error) error {
	b, err := p.Bytes(d.at, 8)
	if err != nil {
		return err
	}
	if string(b[:4]) != "FAHD" {
		return fmt.Errorf("%w: no fixed array", formats.ErrMalformed)
	}
	pageBits := int(b[7])
	e, err := p.newElements(d, s, b[5], b[6], add)
	if err != nil {
		return err
	}
	n, err := p.length(d.at + 8)
	if err != nil {
		return err
	}
	at, err := p.address(d.at + 8 + int64(p.lenSize))
	if err != nil || at < 0 {
		return err
	}
	if pageBits > 32 {
		return fmt.Errorf("%w: a fixed array with pages of 2^%d", formats.ErrMalformed, pageBits)
	}
	n = min(n, e.order.total)
	at += 6 + int64(p.offSize)
	page := int64(1) << pageBits
	if n <= page {
		return e.read(at, 0, n)
	}
	used := at
	at += ((n+page-1)/page+7)/8 + 4 // a bit for each page in use, and a checksum
	for i := int64(0); i*page < n; i++ {
		bit, err := p.U8(used + i/8)
		if err != nil {
			return err
		}
		if bit>>(7-i%8)&1 == 1 {
			if err := e.read(at, i*page, min(page, n-i*page)); err != nil {
				return err
			}
		}
		at += page*e.size + 4
	}
	return nil
}

// growing is an extensible array: entries in an index block, then in data blocks of
// growing size that it points to, then in ones that secondary blocks point to.
type growing struct {
	*elements
	first    int64 // entries in the index block
	block    int64 // entries of the smallest data block
	pointers int64 // data blocks of the smallest secondary block
	pageBits int
	offBytes int64 // bytes of an entry's number
	left     int64 // entries that are set, and not read yet
	number   int64 // of the next chunk
}

// growingArray lists the chunks of a data set that grows along one axis.
func (p *parser) growingArray(d *dataset, s *tiles.Source, add func(chunk) error) error {
	b, err := p.Bytes(d.at, 12)
	if err != nil {
		return err
	}
	if string(b[:4]) != "EAHD" {
		return fmt.Errorf("%w: no extensible array", formats.ErrMalformed)
	}
	maxBits := int64(b[7])
	g := &growing{first: int64(b[8]), block: int64(b[9]), pointers: int64(b[10]), pageBits: int(b[11]), offBytes: (maxBits + 7) / 8}
	if maxBits > 64 || g.block == 0 || g.block&(g.block-1) != 0 || g.pointers < 2 || g.pointers&(g.pointers-1) != 0 || g.pageBits > 32 {
		return fmt.Errorf("%w: an extensible array of impossible sizes", formats.ErrMalformed)
	}
	if g.elements, err = p.newElements(d, s, b[5], b[6], add); err != nil {
		return err
	}
	if g.left, err = p.length(d.at + 12 + 4*int64(p.lenSize)); err != nil { // the highest number in use, and one
		return err
	}
	at, err := p.address(d.at + 12 + 6*int64(p.lenSize))
	if err != nil || at < 0 {
		return err
	}
	return g.index(at, maxBits)
}

// index reads the index block, and the blocks that it points to.
func (g *growing) index(at, maxBits int64) error {
	if err := g.signature(at, "EAIB"); err != nil {
		return err
	}
	at += 6 + int64(g.p.offSize)
	if err := g.take(at, g.first); err != nil {
		return err
	}
	at += g.first * g.size
	levels := 1 + maxBits - int64(bits.TrailingZeros64(uint64(g.block)))
	direct := 2 * int64(bits.TrailingZeros64(uint64(g.pointers)))
	for level := range levels {
		if g.left <= 0 {
			return nil
		}
		blocks, entries := int64(1)<<min(level/2, 40), g.block<<min((level+1)/2, 40)
		if level < direct {
			for range blocks {
				if err := g.dataBlock(at, entries, -1, 0); err != nil {
					return err
				}
				at += int64(g.p.offSize)
			}
			continue
		}
		if err := g.secondary(at, blocks, entries); err != nil {
			return err
		}
		at += int64(g.p.offSize)
	}
	return nil
}

func (g *growing) signature(at int64, want string) error {
	b, err := g.p.Bytes(at, 4)
	if err == nil && string(b) != want {
		err = fmt.Errorf("%w: no block %s of an array at offset %d", formats.ErrMalformed, want, at)
	}
	return err
}

// take reads the next n entries, as many of them as are set.
func (g *growing) take(at, n int64) error {
	if m := min(n, g.left); at >= 0 && m > 0 {
		if err := g.read(at, g.number, m); err != nil {
			return err
		}
	}
	g.skip(n)
	return nil
}

func (g *growing) skip(n int64) { g.number, g.left = g.number+n, g.left-n }

// dataBlock reads the data block that the pointer at at leads to; used is where the
// bits of the pages in use begin, -1 where all are, and first that of its first.
func (g *growing) dataBlock(at, entries, used, first int64) error {
	block, err := g.p.address(at)
	if err != nil || block < 0 || g.left <= 0 {
		g.skip(entries)
		return err
	}
	if err := g.signature(block, "EADB"); err != nil {
		return err
	}
	block += 6 + int64(g.p.offSize) + g.offBytes
	page := int64(1) << g.pageBits
	if entries <= page {
		return g.take(block, entries)
	}
	block += 4
	for i := range entries / page {
		if g.left <= 0 {
			break
		}
		bit, err := byte(0xff), error(nil)
		if used >= 0 {
			bit, err = g.p.U8(used + (first+i)/8)
		}
		if err != nil {
			return err
		}
		if bit>>(7-(first+i)%8)&1 == 0 {
			g.skip(page)
		} else if err := g.take(block, page); err != nil {
			return err
		}
		block += page*g.size + 4
	}
	return nil
}

// secondary reads the secondary block that the pointer at at leads to.
func (g *growing) secondary(at, blocks, entries int64) error {
	block, err := g.p.address(at)
	if err != nil || block < 0 {
		g.skip(blocks * min(entries, 1<<20)) // more are in no file
		return err
	}
	if err := g.signature(block, "EASB"); err != nil {
		return err
	}
	block += 6 + int64(g.p.offSize) + g.offBytes
	used, pages := int64(-1), int64(0)
	if page := int64(1) << g.pageBits; entries > page {
		used, pages = block, entries/page
		block += blocks * ((pages + 7) / 8)
	}
	for i := range blocks {
		if g.left <= 0 {
			return nil
		}
		if err := g.dataBlock(block, entries, used, i*pages); err != nil {
			return err
		}
		block += int64(g.p.offSize)
	}
	return nil
}
