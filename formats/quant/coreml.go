package quant

import (
	"fmt"
	"math/bits"
	"strings"

	"weightwarden/formats"
)

// The parts of the operators that Core ML unpacks weights by, and of the quantised
// weights of its neural networks, have names that the reader of the format gives
// them, after the operator's own parameters: they, and not what a file calls its
// weights, tell which part is which. Sources: constexpr_affine_dequantize,
// constexpr_blockwise_shift_scale, constexpr_lut_to_dense and
// constexpr_sparse_to_dense of coremltools; QuantizationParams of
// NeuralNetwork.proto.

// findTable recognises codes that choose from a table: one for all, or one for
// every block of the matrix, of as many axes as the codes and two more, for the
// entries and for vectors, which are read where they have one number.
func findTable(f *finder, main int) (View, bool) {
	t := &f.tensors[main]
	width := codeBits(t)
	table := f.relative(main, func(s part) bool {
		return strings.HasSuffix(s.Name, ".lut") && isOneOf(s.DType, realTypes) && s.Data.Strides == nil && tableFits(t, s.Tensor, width)
	})
	if table < 0 {
		return View{}, false
	}
	lut := &f.tensors[table]
	blocks := lut.Shape[:max(0, len(lut.Shape)-2)]
	entries := lut.Shape[max(0, len(lut.Shape)-2)]
	open := func() (rowSource, error) {
		c, err := openPacked(t)
		if err != nil {
			return nil, err
		}
		x, err := newSpread(lut, t.Shape, blocks, entries)
		return &byTable{codes: c, table: x, cols: rowLength(t.Shape), entries: entries}, err
	}
	return f.packedView(Table, open, main, table)
}

// codeBits is the width of unsigned codes; 0 for other types.
func codeBits(t *formats.Tensor) int64 {
	switch t.DType {
	case formats.U1, formats.U2, formats.U3, formats.U4, formats.U6, formats.U8:
		_, b := t.DType.Block()
		return b
	}
	return 0
}

func tableFits(t, lut *formats.Tensor, width int64) bool {
	n := len(lut.Shape)
	switch {
	case width == 0 || n == 0 || t.Data.Strides != nil:
		return false
	case n == 1:
		return bits.OnesCount64(uint64(lut.Shape[0])) == 1 && lut.Shape[0] <= 1<<width
	}
	return n == len(t.Shape)+2 && lut.Shape[n-1] == 1 && lut.Shape[n-2] == 1<<width && divides(t.Shape, lut.Shape[:n-2])
}

// divides reports whether blocks of equal size, as many as blocks says, cover
// every axis of shape.
func divides(shape, blocks []int64) bool {
	if len(blocks) != len(shape) {
		return false
	}
	for i, d := range shape {
		if blocks[i] < 1 || d%blocks[i] != 0 {
			return false
		}
	}
	return true
}

// findSteps recognises codes with a step for each block of them, along any axes,
// and with a zero point or an offset.
func findSteps(f *finder, main int) (View, bool) {
	t := &f.tensors[main]
	base, ok := strings.CutSuffix(t.Name, ".quantized_data")
	if !ok {
		base, ok = strings.CutSuffix(t.Name, ".data")
	}
	linear := false
	if !ok {
		base, linear = strings.CutSuffix(t.Name, ".quantized")
	}
	if !ok && !linear {
		return View{}, false
	}
	defer func(stem string) { f.stem = stem }(f.stem)
	f.stem = base + "."
	grid := func(suffix string, real bool) func(part) bool {
		return func(s part) bool {
			return s.Name == base+suffix && s.Data.Strides == nil && CanDecode(s.DType) && isOneOf(s.DType, realTypes) == real &&
				(s.Elements() == 1 || divides(t.Shape, s.Shape))
		}
	}
	scale := f.relative(main, grid(".scale", true))
	if scale < 0 {
		return View{}, false
	}
	var shift int
	if linear {
		shift = f.relative(main, grid(".offset", true))
	} else if shift = f.relative(main, grid(".zero_point", false)); shift < 0 {
		shift = f.relative(main, func(s part) bool { return grid(".offset", false)(s) || grid(".offset", true)(s) })
	}
	open := func() (rowSource, error) { return openSteps(f.tensors, main, scale, shift, linear) }
	return f.packedView(Steps, open, main, scale, shift)
}

func openSteps(tensors []formats.Tensor, main, scale, shift int, linear bool) (rowSource, error) {
	t := &tensors[main]
	c, err := openPacked(t)
	if err != nil {
		return nil, err
	}
	s := &bySteps{codes: c, cols: rowLength(t.Shape), linear: linear}
	if s.scale, err = newSpread(&tensors[scale], t.Shape, tensors[scale].Shape, 1); err != nil || shift < 0 {
		return s, err
	}
	s.shift, err = newSpread(&tensors[shift], t.Shape, tensors[shift].Shape, 1)
	return s, err
}

// findSparse recognises a mask of bits with the numbers that stand where it is set.
func findSparse(f *finder, main int) (View, bool) {
	t := &f.tensors[main]
	base, ok := strings.CutSuffix(t.Name, ".mask")
	if !ok || t.DType != formats.U1 || t.Data.Strides != nil || !readable(t) {
		return View{}, false
	}
	numbers := f.relative(main, func(s part) bool {
		return s.Name == base+".nonzero_data" && len(s.Shape) == 1 && s.Data.Strides == nil && CanDecode(s.DType) && s.Shape[0] <= t.Elements()
	})
	if numbers < 0 {
		return View{}, false
	}
	open := func() (rowSource, error) { return openSparse(t, &f.tensors[numbers]) }
	return f.packedView(Sparse, open, main, numbers)
}

// packedView is the view of a family whose main tensor has the logical shape.
func (f *finder) packedView(scheme string, open func() (rowSource, error), tensors ...int) (View, bool) {
	t := &f.tensors[tensors[0]]
	rows, cols, ok := Matrix(t.Shape)
	if !ok || !readable(t) {
		return View{}, false
	}
	v, ok := f.view(scheme, []int64{rows, cols}, open, tensors...)
	v.Shape = t.Shape
	return v, ok
}

// rowLength is the length of the rows of a shape as a matrix.
func rowLength(shape []int64) int64 {
	_, cols, _ := Matrix(shape)
	return cols
}

// spreadNumbers is how many numbers a spread holds at a time.
const spreadNumbers = 64 << 10

// spread reads numbers of which each belongs to a block of a larger tensor.
type spread struct {
	src    *packed
	shape  []int64 // of the larger tensor
	block  []int64 // elements of a block, by axis
	counts []int64 // blocks, by axis
	per    int64   // numbers of one block
	buf    []float32
	first  int64
}

// newSpread reads t as numbers of blocks, of which one axis has as many as blocks
// says; per of them belong to each.
func newSpread(t *formats.Tensor, shape, blocks []int64, per int64) (*spread, error) {
	src, err := openPacked(t)
	if err != nil {
		return nil, err
	}
	s := &spread{src: src, shape: shape, per: per}
	if src.total == per { // one block
		blocks = nil
	}
	for i, d := range shape {
		n := int64(1)
		if blocks != nil {
			n = blocks[i]
		}
		s.counts, s.block = append(s.counts, n), append(s.block, max(1, d/n))
	}
	return s, nil
}

// at returns the block of an element, and how many elements from it on are in the
// same one.
func (s *spread) at(element int64) (index, run int64) {
	stride, rest := int64(1), element
	for i := len(s.shape) - 1; i >= 0; i-- {
		x := rest % s.shape[i]
		rest /= s.shape[i]
		if i == len(s.shape)-1 {
			run = s.block[i] - x%s.block[i]
		}
		index += x / s.block[i] * stride
		stride *= s.counts[i]
	}
	return index, max(1, run)
}

// numbers returns those of a block, valid until the next call.
func (s *spread) numbers(index int64) ([]float32, error) {
	from := index * s.per
	if from < s.first || from+s.per > s.first+int64(len(s.buf)) {
		n := min(max(s.per, spreadNumbers), s.src.total-from)
		if n < s.per {
			return nil, fmt.Errorf("%w: block %d of %d numbers", formats.ErrTruncated, index, s.src.total)
		}
		if int64(cap(s.buf)) < n {
			s.buf = make([]float32, n)
		}
		s.buf, s.first = s.buf[:n], from
		if err := s.src.readAt(s.buf, from); err != nil {
			s.buf = s.buf[:0]
			return nil, err
		}
	}
	return s.buf[from-s.first:][:s.per], nil
}

// byTable reads codes that choose from tables.
type byTable struct {
	codes   *packed
	table   *spread
	cols    int64
	entries int64
}

func (b *byTable) read(dst []float32, row, col int64) error {
	at := row*b.cols + col
	if err := b.codes.readAt(dst, at); err != nil {
		return err
	}
	for len(dst) > 0 {
		index, run := b.table.at(at)
		table, err := b.table.numbers(index)
		if err != nil {
			return err
		}
		n := min(run, int64(len(dst)))
		for i, code := range dst[:n] {
			if int64(code) >= b.entries {
				return fmt.Errorf("%w: code %v of a table of %d", formats.ErrMalformed, code, b.entries)
			}
			dst[i] = table[int64(code)]
		}
		dst, at = dst[n:], at+n
	}
	return nil
}

// bySteps reads (code - shift) * scale, or, where linear, code * scale + shift,
// which is rounded once.
type bySteps struct {
	codes        *packed
	scale, shift *spread // shift is nil for none
	cols         int64
	linear       bool
}

func (b *bySteps) read(dst []float32, row, col int64) error {
	at := row*b.cols + col
	if err := b.codes.readAt(dst, at); err != nil {
		return err
	}
	for len(dst) > 0 {
		index, run := b.scale.at(at)
		s, err := b.scale.numbers(index)
		if err != nil {
			return err
		}
		n, shift := min(run, int64(len(dst))), float32(0)
		if b.shift != nil {
			index, run := b.shift.at(at)
			x, err := b.shift.numbers(index)
			if err != nil {
				return err
			}
			n, shift = min(n, run), x[0]
		}
		if y := dst[:n]; b.linear {
			for i, q := range y {
				y[i] = float32(float64(q)*float64(s[0]) + float64(shift))
			}
		} else {
			for i, q := range y {
				y[i] = (q - shift) * s[0]
			}
		}
		dst, at = dst[n:], at+n
	}
	return nil
}

// sparseMark is how many bits of a mask lie between two places that are counted.
const sparseMark = 1 << 15

// sparse reads the numbers of a mask in logical order.
type sparse struct {
	mask   *packed
	before []int64 // numbers before each mark
	values *packed
	total  int64
	cols   int64
	bits   []float32
	found  []float32
}

func openSparse(mask, values *formats.Tensor) (*sparse, error) {
	m, err := openPacked(mask)
	if err != nil {
		return nil, err
	}
	v, err := openPacked(values)
	if err != nil {
		return nil, err
	}
	s := &sparse{mask: m, values: v, total: v.total, cols: rowLength(mask.Shape)}
	buf := make([]byte, sparseMark/8)
	n := int64(0)
	for at := int64(0); at < m.total; at += sparseMark {
		s.before = append(s.before, n)
		b := buf[:(min(sparseMark, m.total-at)+7)/8]
		if err := formats.ReadFull(mask.Data.Source, b, mask.Data.Offset+at/8); err != nil {
			return nil, err
		}
		for _, x := range b {
			n += int64(bits.OnesCount8(x))
		}
	}
	return s, nil
}

func (s *sparse) read(dst []float32, row, col int64) error {
	at := row*s.cols + col
	for len(dst) > 0 {
		n := min(int64(len(dst)), sparseMark-at%sparseMark)
		if err := s.some(dst[:n], at); err != nil {
			return err
		}
		dst, at = dst[n:], at+n
	}
	return nil
}

// some reads what does not cross a mark.
func (s *sparse) some(dst []float32, at int64) error {
	first := at / sparseMark * sparseMark
	if s.bits == nil {
		s.bits, s.found = make([]float32, sparseMark), make([]float32, sparseMark)
	}
	b := s.bits[:at-first+int64(len(dst))]
	if err := s.mask.readAt(b, first); err != nil {
		return err
	}
	from := s.before[first/sparseMark]
	for _, x := range b[:at-first] {
		from += int64(x)
	}
	b = b[at-first:]
	n := int64(0)
	for _, x := range b {
		n += int64(x)
	}
	found := s.found[:n]
	if err := s.values.readAt(found, from); err != nil {
		return err
	}
	for i, x := range b {
		if dst[i] = 0; x != 0 {
			dst[i], found = found[0], found[1:]
		}
	}
	return nil
}
