package formats

import (
	"fmt"
	"io"
)

const (
	tileBytes   = 32 << 20 // what one tile of a transposed tensor may hold
	chunkBytes  = 64 << 10 // what one read takes at most, and the window for small ones
	nearBytes   = 4 << 10  // reads closer than this share a window
	strideReach = 1 << 56  // elements; more cannot be in a file
)

// strided returns a reader of the elements of a strided tensor in logical order.
func (t *Tensor) strided() (io.Reader, error) {
	elements, bits := t.DType.Block()
	if elements != 1 || bits%8 != 0 {
		return nil, fmt.Errorf("%w: strides on %s", ErrUnsupported, t.DType)
	}
	if len(t.Data.Strides) != len(t.Shape) {
		return nil, fmt.Errorf("%w: %d strides for %d axes", ErrMalformed, len(t.Data.Strides), len(t.Shape))
	}
	low, high, ok := strideSpan(t.Shape, t.Data.Strides)
	width := bits / 8
	n, fits := Elements(t.Shape)
	if !ok || !fits || t.Data.Offset+low*width < 0 || n > 0 && (high+1)*width > t.Data.Source.Size()-t.Data.Offset {
		return nil, fmt.Errorf("%w: strides reach outside of the source", ErrMalformed)
	}
	if n == 0 {
		return io.LimitReader(nil, 0), nil
	}
	return newGather(t, width), nil
}

// strideSpan returns the lowest and highest element offset that shape and
// strides reach; false where they overflow.
func strideSpan(shape, strides []int64) (low, high int64, ok bool) {
	for _, d := range shape {
		if d == 0 {
			return 0, 0, true
		}
	}
	for i, d := range shape {
		s := strides[i]
		if s > strideReach || s < -strideReach || (s != 0 && d-1 > strideReach/max(s, -s)) {
			return 0, 0, false
		}
		if reach := (d - 1) * s; reach < 0 {
			low += reach
		} else {
			high += reach
		}
		if low < -strideReach || high > strideReach {
			return 0, 0, false
		}
	}
	return low, high, true
}

// mergeAxes drops axes of one element and joins neighbours that one stride can
// walk, so that a slice of whole rows becomes one run.
func mergeAxes(shape, strides []int64) (sh, st []int64) {
	for i, d := range shape {
		s := strides[i]
		if d == 1 {
			continue
		}
		if n := len(sh); n > 0 && st[n-1] == s*d {
			sh[n-1], st[n-1] = sh[n-1]*d, s
			continue
		}
		sh, st = append(sh, d), append(st, s)
	}
	if len(sh) == 0 {
		return []int64{1}, []int64{1}
	}
	return sh, st
}

// gather delivers a strided tensor tile by tile. A tile is block consecutive
// indices of axis with all axes behind it: consecutive in the output. The axis
// with the smallest stride is blocked, so that what is read together lies
// together in the file: a transposed matrix is read in pieces of block elements
// instead of single ones.
type gather struct {
	win            window
	offset, width  int64
	shape, strides []int64
	axis           int
	block, inner   int64
	outer          []int64 // index of axes before axis
	at             int64   // index on axis of the next tile
	done           bool
	tile, left     []byte
}

func newGather(t *Tensor, width int64) *gather {
	g := &gather{win: window{src: t.Data.Source}, offset: t.Data.Offset, width: width, inner: 1}
	g.shape, g.strides = mergeAxes(t.Shape, t.Data.Strides)
	last := len(g.shape) - 1
	g.axis = last
	for i, s := range g.strides {
		if s = max(s, -s); s != 0 && s < abs(g.strides[g.axis]) {
			g.axis = i
		}
	}
	for _, d := range g.shape[g.axis+1:] {
		g.inner *= d
	}
	if g.inner > tileBytes/width { // not even one index fits: element by element
		g.axis, g.inner = last, 1
	}
	apart := max(1, abs(g.strides[g.axis])) * width
	g.block = chunkBytes / apart // what lies between elements is read with them
	if apart >= nearBytes {
		g.block = 1
	}
	g.block = max(1, min(g.block, g.shape[g.axis], tileBytes/(g.inner*width)))
	g.outer = make([]int64, g.axis)
	g.tile = make([]byte, g.block*g.inner*width)
	return g
}

func abs(v int64) int64 { return max(v, -v) }

// Read implements io.Reader.
func (g *gather) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(g.left) == 0 {
		if g.done {
			return 0, io.EOF
		}
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, g.left)
	g.left = g.left[n:]
	return n, nil
}

// next fills the tile and moves on.
func (g *gather) next() error {
	block := min(g.block, g.shape[g.axis]-g.at)
	base := g.at * g.strides[g.axis]
	for i, x := range g.outer {
		base += x * g.strides[i]
	}
	index := make([]int64, len(g.shape)-g.axis-1)
	off := base
	for j := int64(0); j < g.inner; j++ {
		if err := g.column(off, j, block); err != nil {
			return err
		}
		off = step(index, g.shape[g.axis+1:], g.strides[g.axis+1:], off)
	}
	g.left = g.tile[:block*g.inner*g.width]
	if g.at += block; g.at < g.shape[g.axis] {
		return nil
	}
	g.at = 0
	for i := len(g.outer) - 1; i >= 0; i-- {
		if g.outer[i]++; g.outer[i] < g.shape[i] {
			return nil
		}
		g.outer[i] = 0
	}
	g.done = true
	return nil
}

// step moves index on by one and returns the new offset.
func step(index, shape, strides []int64, off int64) int64 {
	for i := len(index) - 1; i >= 0; i-- {
		off += strides[i]
		if index[i]++; index[i] < shape[i] {
			return off
		}
		off -= shape[i] * strides[i]
		index[i] = 0
	}
	return off
}

// column reads block elements from element off on, and puts them into column j
// of the tile.
func (g *gather) column(off, j, block int64) error {
	stride := g.strides[g.axis]
	low := off + min(0, (block-1)*stride)
	count := (block-1)*abs(stride) + 1
	src, err := g.win.at(g.offset+low*g.width, count*g.width)
	if err != nil {
		return err
	}
	first := (off - low) * g.width
	if stride == 1 && g.inner == 1 {
		copy(g.tile, src)
		return nil
	}
	scatter(g.tile[j*g.width:], src, first, g.inner*g.width, stride*g.width, block, g.width)
	return nil
}

// scatter copies n elements of width bytes from src, which advances by from bytes
// an element, to dst, which advances by to.
func scatter(dst, src []byte, first, to, from, n, width int64) {
	d, s := int64(0), first
	switch width {
	case 4:
		for ; n > 0; n-- {
			*(*[4]byte)(dst[d:]) = *(*[4]byte)(src[s:])
			d, s = d+to, s+from
		}
	case 2:
		for ; n > 0; n-- {
			*(*[2]byte)(dst[d:]) = *(*[2]byte)(src[s:])
			d, s = d+to, s+from
		}
	default:
		for ; n > 0; n-- {
			copy(dst[d:d+width], src[s:s+width])
			d, s = d+to, s+from
		}
	}
}

// window reads a Source at many places. Reads that are near each other share
// one larger read, others take what they need and no more.
type window struct {
	src   Source
	buf   []byte
	from  int64 // offset of data
	data  []byte
	point int64 // offset of the last read
}

// at returns n bytes at off, valid until the next call.
func (w *window) at(off, n int64) ([]byte, error) {
	if i := off - w.from; i >= 0 && n <= int64(len(w.data))-i {
		w.point = off
		return w.data[i : i+n], nil
	}
	from, to := off, off+n
	switch gap := off - w.point; {
	case n >= nearBytes:
	case gap >= 0 && gap < nearBytes:
		to = max(to, off+chunkBytes)
	case gap < 0 && gap > -nearBytes:
		from = min(from, to-chunkBytes)
	}
	from, to = max(from, 0), min(to, w.src.Size())
	if to < off+n {
		return nil, fmt.Errorf("%w: %d bytes at offset %d", ErrTruncated, n, off)
	}
	if int64(cap(w.buf)) < to-from {
		w.buf = make([]byte, to-from)
	}
	w.data = nil
	if err := ReadFull(w.src, w.buf[:to-from], from); err != nil {
		return nil, err
	}
	w.from, w.data, w.point = from, w.buf[:to-from], off
	return w.data[off-from : off-from+n], nil
}
