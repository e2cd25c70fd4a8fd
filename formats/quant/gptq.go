package quant

import (
	"encoding/binary"
	"fmt"
	"slices"

	"weightwarden/formats"
)

// gptq reads a Linear weight as GPTQ packers store it (AutoGPTQ, GPTQModel): codes
// of 2, 3, 4 or 8 bits in 32-bit words [in*bits/32, out], running down the input
// axis; scales [groups, out]; zero points [groups, out*bits/32] packed along the
// output axis; and, with act-order, the group of every input in g_idx. The view
// is [out, in], as the float weight was.
type gptq struct {
	words  *words
	bits   int64
	groups *columnGroups
	buf    []uint32 // words of a block, n after n
	have   int64    // how many
}

// words reads 32-bit words of a matrix.
type words struct {
	src    formats.Source
	offset int64
	width  int64 // words of a row
	swap   func([]byte)
	buf    []byte
}

func openWords(t *formats.Tensor) (*words, error) {
	if !readable(t) || len(t.Shape) != 2 || t.Data.Strides != nil {
		return nil, fmt.Errorf("%w: the words of tensor %.200q", formats.ErrTruncated, t.Name)
	}
	w := &words{src: t.Data.Source, offset: t.Data.Offset, width: t.Shape[1]}
	w.swap, _ = bigEndian(t)
	return w, nil
}

// read fills dst from a row and column on.
func (w *words) read(dst []uint32, row, col int64) error {
	if len(w.buf) < 4*len(dst) {
		w.buf = make([]byte, 4*len(dst))
	}
	buf := w.buf[:4*len(dst)]
	if err := formats.ReadFull(w.src, buf, w.offset+4*(row*w.width+col)); err != nil {
		return err
	}
	if w.swap != nil {
		w.swap(buf)
	}
	for i := range dst {
		dst[i] = binary.LittleEndian.Uint32(buf[4*i:])
	}
	return nil
}

// columnGroups holds scales and zero points, [groups, out] in the file, of the
// output rows of one tile.
type columnGroups struct {
	groups, size int64   // size: inputs of a group, where index is nil
	index        []int32 // the group of every input, for act-order
	scale        numbers
	scaleWidth   int64
	zero         func(dst []float32, group, row int64) error
	s, z         []float32
	n            int64
}

// load reads the parameters of output rows [row, row+n).
func (g *columnGroups) load(row, n int64) error {
	if need := g.groups * n; int64(len(g.s)) < need {
		g.s, g.z = make([]float32, need), make([]float32, need)
	}
	g.n = n
	for k := range g.groups {
		if err := g.scale.readAt(g.s[k*n:][:n], k*g.scaleWidth+row); err != nil {
			return err
		}
		if err := g.zero(g.z[k*n:][:n], k, row); err != nil {
			return err
		}
	}
	return nil
}

// of returns scales and zero points of one input for the rows loaded.
func (g *columnGroups) of(input int64) (scale, zero []float32) {
	k := input / g.size
	if g.index != nil {
		k = int64(g.index[input])
	}
	return g.s[k*g.n:][:g.n], g.z[k*g.n:][:g.n]
}

// shared reports whether the inputs [input, input+n) are of one group.
func (g *columnGroups) shared(input, n int64) bool {
	if g.index == nil {
		return input/g.size == (input+n-1)/g.size
	}
	for _, k := range g.index[input : input+n] {
		if k != g.index[input] {
			return false
		}
	}
	return true
}

func (q *gptq) fill(dst []float32, row, n, col, w int64) error {
	if err := q.groups.load(row, n); err != nil {
		return err
	}
	for c := int64(0); c < w; c += 32 {
		if err := q.block(dst[c:], row, n, col+c, w, min(32, w-c)); err != nil {
			return err
		}
	}
	return nil
}

// block unpacks up to 32 inputs, whose codes fill q.bits words, for n rows.
func (q *gptq) block(dst []float32, row, n, col, w, count int64) error {
	rows := (count*q.bits + 31) / 32
	if int64(len(q.buf)) < rows*n {
		q.buf = make([]uint32, 32*n)
	}
	q.have = rows * n
	for k := range rows {
		if err := q.words.read(q.buf[k*n:][:n], col*q.bits/32+k, row); err != nil {
			return err
		}
	}
	if q.groups.shared(col, count) {
		q.rows(dst, n, col, w, count)
		return nil
	}
	for j := range count {
		scale, zero := q.groups.of(col + j)
		for i := range n {
			code := q.codes(i, n, j*q.bits) & (1<<q.bits - 1)
			dst[i*w+j] = (float32(uint32(code)) - zero[i]) * scale[i]
		}
	}
	return nil
}

// rows is block for inputs of one group: row after row, in long writes.
func (q *gptq) rows(dst []float32, n, col, w, count int64) {
	scale, zero := q.groups.of(col)
	per, mask := 64/q.bits, uint64(1)<<q.bits-1
	for i := range n {
		s, z, y := scale[i], zero[i], dst[i*w:][:count]
		for at := int64(0); len(y) > 0; at += per * q.bits {
			codes := q.codes(i, n, at)
			part := y[:min(per, int64(len(y)))]
			for j := range part {
				part[j] = (float32(int32(codes&mask)) - z) * s
				codes >>= q.bits
			}
			y = y[len(part):]
		}
	}
}

// codes returns the 64 bits, as far as there are, of row i from a bit of the
// block on.
func (q *gptq) codes(i, n, bit int64) uint64 {
	at, shift := bit/32*n+i, uint(bit%32)
	word := func(at int64) uint64 {
		if at < q.have {
			return uint64(q.buf[at])
		}
		return 0
	}
	return (word(at)|word(at+n)<<32)>>shift | word(at+2*n)<<(64-shift)
}

// findGPTQ recognises words [a, out] with real scales [groups, out] and words
// [groups, out*bits/32].
func findGPTQ(f *finder, main int) (View, bool) {
	t := &f.tensors[main]
	if !isMatrix(t, formats.I32, formats.U32) {
		return View{}, false
	}
	out := t.Shape[1]
	si := f.companion(main, func(s part) bool { return isMatrix(s.Tensor, realTypes...) && s.Shape[1] == out })
	if si < 0 {
		return View{}, false
	}
	scales := &f.tensors[si]
	groups := scales.Shape[0]
	zi := f.companion(main, func(z part) bool {
		return isMatrix(z.Tensor, formats.I32, formats.U32) && z.Shape[0] == groups && codeDecoder(32*z.Shape[1]/out) != nil &&
			z.Shape[1] == (out*(32*z.Shape[1]/out)+31)/32
	})
	if zi < 0 {
		return View{}, false
	}
	zeros := &f.tensors[zi]
	bits := 32 * zeros.Shape[1] / out
	in := t.Shape[0] * 32 / bits
	if in > maxFamilyCols || groups > in/8+1 || t.Shape[0]*32%bits != 0 || bits == 5 || bits == 6 {
		return View{}, false
	}
	gi := f.groupIndex(main, in, groups)
	if gi < 0 && in%groups != 0 {
		return View{}, false
	}
	open := func() (rowSource, error) {
		var index *formats.Tensor
		if gi >= 0 {
			index = &f.tensors[gi]
		}
		return openGPTQ(t, scales, zeros, index, bits, in)
	}
	return f.view(GPTQ, []int64{out, in}, open, main, si, zi, gi)
}

// groupIndex finds the act-order index of a matrix: a group for every input.
func (f *finder) groupIndex(main int, in, groups int64) int {
	i := f.companion(main, func(g part) bool {
		return (g.DType == formats.I32 || g.DType == formats.I64) && hasShape(g.Tensor, in)
	})
	if i >= 0 && !isGroupIndex(&f.tensors[i], in, groups) {
		return -1
	}
	return i
}

func isGroupIndex(t *formats.Tensor, in, groups int64) bool {
	index := sample(t, in)
	for _, g := range index {
		if !(g >= 0 && g < float32(groups)) {
			return false
		}
	}
	return int64(len(index)) == in
}

func readGroupIndex(t *formats.Tensor, in, groups int64) ([]int32, error) {
	if t == nil {
		return nil, nil
	}
	if !isGroupIndex(t, in, groups) {
		return nil, fmt.Errorf("%w: group index %.200q", formats.ErrMalformed, t.Name)
	}
	index := make([]int32, in)
	for i, g := range sample(t, in) {
		index[i] = int32(g)
	}
	return index, nil
}

func openGPTQ(t, scales, zeros, index *formats.Tensor, bits, in int64) (rowSource, error) {
	w, err := openWords(t)
	if err != nil {
		return nil, err
	}
	scale, err := openPacked(scales)
	if err != nil {
		return nil, err
	}
	zero, err := openCodes(zeros, bits, codeDecoder(bits))
	if err != nil {
		return nil, err
	}
	groups := scales.Shape[0]
	g := &columnGroups{groups: groups, size: (in + groups - 1) / groups, scale: scale, scaleWidth: scales.Shape[1]}
	if g.index, err = readGroupIndex(index, in, groups); err != nil {
		return nil, err
	}
	offset, most := float32(0), float32(int(1)<<bits-1)
	if bits == 3 {
		most = 8 // AutoGPTQ lets the sum overflow here, and nowhere else
	}
	zeroWidth := zeros.Shape[1] * 32 / bits
	g.zero = func(dst []float32, group, row int64) error {
		err := zero.readAt(dst, group*zeroWidth+row)
		for i := range dst {
			if dst[i] += offset; dst[i] > most {
				dst[i] = 0
			}
		}
		return err
	}
	q := &gptq{words: w, bits: bits, groups: g}
	raw := make([]float32, min(zeroWidth, 1024))
	if err := zero.readAt(raw, 0); err != nil {
		return nil, err
	}
	if offset, err = q.zeroOffset(raw, t.Shape[1], in); err != nil {
		return nil, err
	}
	return newTiled(q, t.Shape[1], in), nil
}

// zeroOffset finds what to add to stored zero points, of which raw are some. The
// first file format stores them less one, the second as they are, and nothing in
// the tensors says which. Where all are the same and about half the range, that
// half is meant; else codes lie around their zero point, so the nearer mean tells.
func (q *gptq) zeroOffset(raw []float32, out, in int64) (float32, error) {
	half := float32(int(1) << (q.bits - 1))
	if low, high := slices.Min(raw), slices.Max(raw); low == high && (low == half || low == half-1) {
		return half - low, nil // symmetric
	}
	n, w := min(out, tileRows), min(in, 4096)
	tile := make([]float32, n*w)
	var sum, count float64
	for _, row := range []int64{0, out / 2 / tileRows * tileRows, (out - n) / tileRows * tileRows} {
		if err := q.fill(tile, row, n, 0, w); err != nil {
			return 0, err
		}
		for i, x := range tile {
			if s, _ := q.groups.of(int64(i) % w); s[int64(i)/w] != 0 {
				sum += float64(x / s[int64(i)/w])
				count++
			}
		}
	}
	if count > 0 && sum/count < 0.5 {
		return 0, nil
	}
	return 1, nil
}
