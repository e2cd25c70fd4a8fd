package hdf5

import (
	"fmt"
	"math/bits"

	"weightwarden/formats"
)

// linkInfo reads a group whose links are kept in a fractal heap, found through a
// B-tree of version 2; groups of more than eight members are, where the writer
// asked for the new format.
func (p *parser) linkInfo(o object, m message) error {
	b, err := p.Bytes(m.at, 2)
	if err != nil {
		return err
	}
	at := m.at + 2
	if b[1]&1 != 0 {
		at += 8
	}
	heapAt, err := p.address(at)
	if err != nil {
		return err
	}
	tree, err := p.address(at + int64(p.offSize))
	if err != nil || heapAt < 0 || tree < 0 {
		return err
	}
	h, err := p.fractalHeap(heapAt)
	if err != nil {
		return err
	}
	return p.tree2(tree, func(record int64, size int) error {
		// Type 5, names: a hash of four bytes, then the heap's id of the link.
		at, n, err := p.heapObject(h, record+4, size-4)
		if err != nil {
			return err
		}
		return p.link(o, at, n)
	})
}

// fractalHeap is what is needed to find an object of a heap.
type fractalHeap struct {
	idSize     int
	offsetSize int // bytes of an offset within the heap
	lengthSize int // bytes of an object's length
	width      int64
	start, max int64 // sizes of the first and the largest direct block
	root       int64
	rootRows   int // 0: the root is a direct block
	overhead   int64
}

func (p *parser) fractalHeap(at int64) (*fractalHeap, error) {
	b, err := p.Bytes(at, 13)
	if err != nil {
		return nil, err
	}
	if string(b[:4]) != "FRHP" || b[4] != 0 {
		return nil, fmt.Errorf("%w: no fractal heap", formats.ErrMalformed)
	}
	h := &fractalHeap{idSize: int(b[5]) | int(b[6])<<8}
	filters, checked := int(b[7])|int(b[8])<<8, b[9]&2 != 0
	largest, err := p.U32(at + 10)
	if err != nil {
		return nil, err
	}
	if filters != 0 {
		return nil, fmt.Errorf("%w: a compressed heap of links", formats.ErrUnsupported)
	}
	o, l := int64(p.offSize), int64(p.lenSize)
	table := at + 14 + l + o + l + o + 8*l
	w, err := p.U16(table)
	if err != nil {
		return nil, err
	}
	h.width = int64(w)
	if h.start, err = p.length(table + 2); err != nil {
		return nil, err
	}
	if h.max, err = p.length(table + 2 + l); err != nil {
		return nil, err
	}
	maxBits, err := p.U16(table + 2 + 2*l)
	if err != nil {
		return nil, err
	}
	if h.root, err = p.address(table + 2 + 2*l + 4); err != nil {
		return nil, err
	}
	rows, err := p.U16(table + 2 + 2*l + 4 + o)
	if err != nil {
		return nil, err
	}
	h.rootRows, h.offsetSize = int(rows), (int(maxBits)+7)/8
	h.lengthSize = min((bits.Len64(uint64(h.max))+7)/8, (bits.Len32(largest)+7)/8)
	h.overhead = 5 + o + int64(h.offsetSize)
	if checked {
		h.overhead += 4
	}
	if h.width == 0 || h.width&(h.width-1) != 0 || h.start <= 0 || h.start&(h.start-1) != 0 || h.max < h.start || maxBits > 64 {
		return nil, fmt.Errorf("%w: a fractal heap of impossible sizes", formats.ErrMalformed)
	}
	return h, nil
}

// heapObject returns the place and size of the object with the id at id.
func (p *parser) heapObject(h *fractalHeap, id int64, size int) (at, n int64, err error) {
	kind, err := p.U8(id)
	if err != nil {
		return 0, 0, err
	}
	switch kind >> 4 & 3 {
	case 0:
	case 2: // the object stands in the id itself
		return id + 1, int64(kind&15) + 1, nil
	default:
		return 0, 0, fmt.Errorf("%w: a link that is kept as a huge object", formats.ErrUnsupported)
	}
	if 1+h.offsetSize+h.lengthSize > size {
		return 0, 0, fmt.Errorf("%w: an id of %d bytes", formats.ErrMalformed, size)
	}
	offset, err := p.Uint(id+1, h.offsetSize)
	if err != nil {
		return 0, 0, err
	}
	length, err := p.Uint(id+1+int64(h.offsetSize), h.lengthSize)
	if err != nil {
		return 0, 0, err
	}
	at, err = p.heapAddress(h, int64(min(offset, 1<<62)))
	return at, int64(min(length, 1<<62)), err
}

// heapAddress finds where an offset within the heap lies, down from the root.
func (p *parser) heapAddress(h *fractalHeap, offset int64) (int64, error) {
	if h.rootRows == 0 {
		return h.root + offset, nil
	}
	block, rows, start := h.root, h.rootRows, int64(0)
	for range 64 {
		if block < 0 {
			break
		}
		rel, rowStart, size := offset-start, int64(0), h.start
		entry := block + 5 + int64(p.offSize) + int64(h.offsetSize)
		row := 0
		for ; row < rows && rel >= rowStart+h.width*size; row++ {
			rowStart += h.width * size
			if row > 0 { // the first two rows have blocks of the same size
				size *= 2
			}
			if size > 1<<50 {
				return 0, fmt.Errorf("%w: offset %d of a heap", formats.ErrMalformed, offset)
			}
		}
		if row == rows {
			break
		}
		col := (rel - rowStart) / size
		child, err := p.address(entry + (int64(row)*h.width+col)*int64(p.offSize))
		if err != nil {
			return 0, err
		}
		start += rowStart + col*size
		if size <= h.max {
			if child < 0 {
				break
			}
			return child + offset - start, nil
		}
		block, rows = child, bits.Len64(uint64(size))-bits.Len64(uint64(h.start*h.width))+1
	}
	return 0, fmt.Errorf("%w: offset %d leads out of the heap", formats.ErrMalformed, offset)
}

// node2 is a node of a B-tree of version 2 that is still to be visited.
type node2 struct {
	at      int64
	depth   int
	records int64
}

// tree2 visits every record of a B-tree of version 2.
func (p *parser) tree2(at int64, visit func(record int64, size int) error) error {
	b, err := p.Bytes(at, 16)
	if err != nil {
		return err
	}
	if string(b[:4]) != "BTHD" {
		return fmt.Errorf("%w: no B-tree", formats.ErrMalformed)
	}
	nodeSize := int64(b[6]) | int64(b[7])<<8 | int64(b[8])<<16 | int64(b[9])<<24
	size, depth := int64(b[10])|int64(b[11])<<8, int(b[12])|int(b[13])<<8
	root, err := p.address(at + 16)
	if err != nil {
		return err
	}
	n, err := p.U16(at + 16 + int64(p.offSize))
	if err != nil {
		return err
	}
	if size < 8 || nodeSize < 10+size || depth > 16 {
		return fmt.Errorf("%w: a B-tree of depth %d, nodes of %d bytes and records of %d", formats.ErrMalformed, depth, nodeSize, size)
	}
	counts := countWidths(nodeSize, size, depth, int64(p.offSize))
	todo := []node2{{root, depth, int64(n)}}
	seen := map[int64]bool{}
	for len(todo) > 0 {
		nd := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if nd.at < 0 || seen[nd.at] {
			continue
		}
		seen[nd.at] = true
		more, err := p.node2(nd, size, counts, visit)
		if err != nil {
			return err
		}
		todo = append(todo, more...)
	}
	return nil
}

// widths are the bytes of a child's number of records, and of all below it.
type widths struct{ own, all int }

// countWidths computes the widths by depth, which the format derives from how many
// records fit a node.
func countWidths(nodeSize, record int64, depth int, offSize int64) []widths {
	out := make([]widths, depth+1)
	most := (nodeSize - 10) / record // of a leaf
	own := (bits.Len64(uint64(most)) + 7) / 8
	total := most
	for d := 1; d <= depth; d++ {
		out[d] = widths{own: own}
		pointer := offSize + int64(own)
		if d > 1 {
			out[d].all = (bits.Len64(uint64(total)) + 7) / 8
			pointer += int64(out[d].all)
		}
		n := max(0, (nodeSize-10-pointer)/(record+pointer))
		total = min((n+1)*total+n, 1<<56)
	}
	return out
}

func (p *parser) node2(nd node2, size int64, counts []widths, visit func(int64, int) error) ([]node2, error) {
	want := "BTLF"
	if nd.depth > 0 {
		want = "BTIN"
	}
	b, err := p.Bytes(nd.at, 6)
	if err != nil {
		return nil, err
	}
	if string(b[:4]) != want {
		return nil, fmt.Errorf("%w: no B-tree node at offset %d", formats.ErrMalformed, nd.at)
	}
	at := nd.at + 6
	for i := range nd.records {
		if err := visit(at+i*size, int(size)); err != nil {
			return nil, err
		}
	}
	if nd.depth == 0 {
		return nil, nil
	}
	var out []node2
	at += nd.records * size
	w := counts[nd.depth]
	for range nd.records + 1 {
		child, err := p.address(at)
		if err != nil {
			return nil, err
		}
		n, err := p.Uint(at+int64(p.offSize), w.own)
		if err != nil {
			return nil, err
		}
		out = append(out, node2{child, nd.depth - 1, int64(min(n, 1<<31))})
		at += int64(p.offSize + w.own + w.all)
	}
	return out, nil
}
