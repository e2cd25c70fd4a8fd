package quant

import (
	"encoding/binary"
	"fmt"

	"weightwarden/formats"
)

// awqOrder says which of eight outputs the nibbles of a word belong to, low bits
// first: AutoAWQ's order for its matrix kernels.
var awqOrder = [8]int64{0, 2, 4, 6, 1, 3, 5, 7}

// awq reads AutoAWQ's usual layout ("gemm"): words [in, out/8] of eight outputs
// each, scales [groups, out], zero points [groups, out/8] packed like the codes.
type awq struct {
	words  *words
	groups *columnGroups
	buf    []uint32
}

// awqBatch is how many inputs are unpacked together, to write their numbers of a
// row in one run.
const awqBatch = 16

func (a *awq) fill(dst []float32, row, n, col, w int64) error {
	if err := a.groups.load(row, n); err != nil {
		return err
	}
	if int64(len(a.buf)) < awqBatch*n/8 {
		a.buf = make([]uint32, awqBatch*n/8)
	}
	for c := int64(0); c < w; {
		count := min(awqBatch, w-c)
		if !a.groups.shared(col+c, count) {
			count = 1
		}
		for k := range count {
			if err := a.words.read(a.buf[k*n/8:][:n/8], col+c+k, row/8); err != nil {
				return err
			}
		}
		a.batch(dst[c:], n, col+c, w, count)
		c += count
	}
	return nil
}

// batch unpacks inputs of one group for n rows.
func (a *awq) batch(dst []float32, n, col, w, count int64) {
	scale, zero := a.groups.of(col)
	for k := range n / 8 {
		for p, o := range awqOrder {
			i := 8*k + o
			s, z, y := scale[i], zero[i], dst[i*w:][:count]
			for j := range y {
				y[j] = (float32(int32(a.buf[int64(j)*(n/8)+k]>>(4*p)&15)) - z) * s
			}
		}
	}
}

// findAWQ recognises words [in, out/8] with real scales [groups, out] and words
// [groups, out/8].
func findAWQ(f *finder, main int) (View, bool) {
	t := &f.tensors[main]
	if !isMatrix(t, formats.I32, formats.U32) {
		return View{}, false
	}
	in, out := t.Shape[0], 8*t.Shape[1]
	divides := func(groups int64) bool { return groups <= in/8 && in%groups == 0 }
	si := f.companion(main, func(s part) bool {
		return isMatrix(s.Tensor, realTypes...) && s.Shape[1] == out && divides(s.Shape[0])
	})
	if si < 0 {
		return View{}, false
	}
	scales := &f.tensors[si]
	zi := f.companion(main, func(z part) bool {
		return isMatrix(z.Tensor, formats.I32, formats.U32) && hasShape(z.Tensor, scales.Shape[0], t.Shape[1])
	})
	if zi < 0 || in > maxFamilyCols {
		return View{}, false
	}
	return f.view(AWQ, []int64{out, in}, func() (rowSource, error) { return openAWQ(t, scales, &f.tensors[zi]) }, main, si, zi)
}

func openAWQ(t, scales, zeros *formats.Tensor) (rowSource, error) {
	w, err := openWords(t)
	if err != nil {
		return nil, err
	}
	scale, err := openPacked(scales)
	if err != nil {
		return nil, err
	}
	zero, err := openWords(zeros)
	if err != nil {
		return nil, err
	}
	in, out, groups := t.Shape[0], 8*t.Shape[1], scales.Shape[0]
	var line []uint32
	g := &columnGroups{groups: groups, size: in / groups, scale: scale, scaleWidth: out}
	g.zero = func(dst []float32, group, row int64) error {
		if len(line) < len(dst)/8 {
			line = make([]uint32, len(dst)/8)
		}
		if err := zero.read(line[:len(dst)/8], group, row/8); err != nil {
			return err
		}
		for i := range dst {
			dst[8*(i/8)+int(awqOrder[i%8])] = float32(line[i/8] >> (4 * (i % 8)) & 15)
		}
		return nil
	}
	return newTiled(&awq{words: w, groups: g}, out, in), nil
}

// awqZeroWords is how many words of zero points AutoAWQ's vector layouts give a
// row: padded so that a word is never shared by thread blocks.
func awqZeroWords(in, group int64) int64 {
	multiple := int64(1)
	switch group {
	case 64:
		multiple = 2
	case 32:
		multiple = 4
	}
	n := (in/group + 7) / 8
	return (n + multiple - 1) / multiple * multiple
}

// awqGroup is the group length of a vector layout with this many zero words a
// row; 0 where none fits.
func awqGroup(in, zeroWords int64) int64 {
	for _, group := range []int64{128, 64, 32, in} {
		if in%group == 0 && awqZeroWords(in, group) == zeroWords {
			return group
		}
	}
	return 0
}

// findAWQVector recognises AutoAWQ's "gemv" layout: words [out, in/8] in natural
// order, zero points [out, words], scales [out, 8*words] padded to whole words.
func findAWQVector(f *finder, main int) (View, bool) {
	t := &f.tensors[main]
	if !isMatrix(t, formats.I32, formats.U32) {
		return View{}, false
	}
	out, in := t.Shape[0], 8*t.Shape[1]
	zi := f.companion(main, func(z part) bool {
		return isMatrix(z.Tensor, formats.I32, formats.U32) && z.Shape[0] == out && awqGroup(in, z.Shape[1]) > 0
	})
	if zi < 0 || in > maxFamilyCols {
		return View{}, false
	}
	width := 8 * f.tensors[zi].Shape[1]
	si := f.companion(main, func(s part) bool { return isMatrix(s.Tensor, realTypes...) && hasShape(s.Tensor, out, width) })
	if si < 0 {
		return View{}, false
	}
	group := awqGroup(in, width/8)
	shape := gridShape{plane: out, planes: 1, rows: out, cols: in / group, br: 1, bc: group}
	open := func() (rowSource, error) {
		codes, err := openCodes(t, 4, codeDecoder(4))
		if err != nil {
			return nil, err
		}
		zero, err := openCodes(&f.tensors[zi], 4, codeDecoder(4))
		if err != nil {
			return nil, err
		}
		scale, err := openPacked(&f.tensors[si])
		if err != nil {
			return nil, err
		}
		return &affine{codes: codes, cols: in, width: in, factor: 1, zero: newGrid(zero, shape, width), scale: newGrid(scale, shape, width)}, nil
	}
	return f.view(AWQ, []int64{out, in}, open, main, si, zi)
}

// awqFast reads AutoAWQ's "gemv_fast" layout: 16-bit words [out/4, in]. Four rows
// share a run of 64 words per 64 inputs, and within it 32 inputs are shuffled for
// the tensor cores' sake. Zero points come multiplied by the scale and negated.
type awqFast struct {
	src    formats.Source
	offset int64
	in     int64
	swap   func([]byte)
	groups *columnGroups // z holds what is added
	buf    []byte
}

func (a *awqFast) fill(dst []float32, row, n, col, w int64) error {
	if err := a.groups.load(row, n); err != nil {
		return err
	}
	if int64(len(a.buf)) < 2*w {
		a.buf = make([]byte, 2*w)
	}
	buf := a.buf[:2*w]
	for top := int64(0); top < n; top += 4 {
		if err := formats.ReadFull(a.src, buf, a.offset+2*((row+top)/4*a.in+col)); err != nil {
			return err
		}
		if a.swap != nil {
			a.swap(buf)
		}
		for c := range w {
			scale, add := a.groups.of(col + c)
			for r := range min(4, n-top) {
				at := fastPlace(r, c%64)
				word := binary.LittleEndian.Uint16(buf[2*(c/64*64+at/4):])
				code := float32(word >> (at % 4 * 4) & 15)
				dst[(top+r)*w+c] = float32(code*scale[top+r]) + add[top+r]
			}
		}
	}
	return nil
}

// fastPlace is the nibble of a row (0 to 3) and input (0 to 63) in its run.
func fastPlace(row, input int64) int64 {
	half, k := input/32, input%32
	return row*64 + half*32 + k/2%4*8 + k%2*4 + k/8
}

// findAWQFast recognises 16-bit words [out/4, in] with two real matrices
// [groups, out], of which one, the scaled zero points, is negative.
func findAWQFast(f *finder, main int) (View, bool) {
	t := &f.tensors[main]
	if !isMatrix(t, formats.I16, formats.U16) || t.Shape[1]%64 != 0 || t.Shape[1] > maxFamilyCols {
		return View{}, false
	}
	out, in := 4*t.Shape[0], t.Shape[1]
	fits := func(negative bool) func(part) bool {
		return func(s part) bool {
			return isMatrix(s.Tensor, realTypes...) && s.Shape[1] == out && s.Shape[0]%8 == 0 &&
				awqGroup(in, s.Shape[0]/8) > 0 && (s.look().mean < 0) == negative
		}
	}
	si, zi := f.companion(main, fits(false)), f.companion(main, fits(true))
	if si < 0 || zi < 0 || f.tensors[si].Shape[0] != f.tensors[zi].Shape[0] {
		return View{}, false
	}
	open := func() (rowSource, error) { return openAWQFast(t, &f.tensors[si], &f.tensors[zi]) }
	return f.view(AWQ, []int64{out, in}, open, main, si, zi)
}

func openAWQFast(t, scales, zeros *formats.Tensor) (rowSource, error) {
	if !readable(t) {
		return nil, fmt.Errorf("%w: the words of tensor %.200q", formats.ErrTruncated, t.Name)
	}
	scale, err := openPacked(scales)
	if err != nil {
		return nil, err
	}
	zero, err := openPacked(zeros)
	if err != nil {
		return nil, err
	}
	out, in := 4*t.Shape[0], t.Shape[1]
	group := awqGroup(in, scales.Shape[0]/8)
	g := &columnGroups{groups: in / group, size: group, scale: scale, scaleWidth: out}
	g.zero = func(dst []float32, group, row int64) error { return zero.readAt(dst, group*out+row) }
	a := &awqFast{src: t.Data.Source, offset: t.Data.Offset, in: in, groups: g}
	a.swap, _ = bigEndian(t)
	return newTiled(a, out, in), nil
}

// meanOf is the mean of the finite numbers of x.
func meanOf(x []float32) float64 {
	sum, n := 0.0, 0
	for _, v := range x {
		if v-v == 0 {
			sum, n = sum+float64(v), n+1
		}
	}
	return sum / float64(max(n, 1))
}
