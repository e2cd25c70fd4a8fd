package quant

import (
	"weightwarden/formats"
)

// findCompressed recognises the pack-quantized format of compressed-tensors:
// words [out, in*bits/32] of codes along the input axis, stored with half their
// range added; real scales per row or per group of a row; the logical shape in a
// small tensor of its own; and optionally zero points, as bytes or as words
// packed along the output axis, and an act-order index.
func findCompressed(f *finder, main int) (View, bool) {
	t := &f.tensors[main]
	if !isMatrix(t, formats.I32, formats.U32) {
		return View{}, false
	}
	out := t.Shape[0]
	logical := func(s *formats.Tensor) (in, bits int64) {
		x := sample(s, 2)
		if len(x) != 2 || x[0] != float32(out) || !(x[1] >= 1 && x[1] <= maxFamilyCols) {
			return 0, 0
		}
		return int64(x[1]), packedBits(int64(x[1]), t.Shape[1])
	}
	shape := f.companion(main, func(s part) bool {
		if s.DType != formats.I64 && s.DType != formats.I32 || !hasShape(s.Tensor, 2) {
			return false
		}
		_, bits := logical(s.Tensor)
		return bits > 0
	})
	if shape < 0 {
		return View{}, false
	}
	in, bits := logical(&f.tensors[shape])
	p := compressed{f: f, main: main, in: in, bits: bits}
	p.scale = f.companion(main, func(s part) bool {
		return p.isGrid(s.Tensor) && isOneOf(s.DType, realTypes)
	})
	if p.scale < 0 {
		return View{}, false
	}
	p.grid, _ = fitGrid([]int64{out, in}, f.tensors[p.scale].Shape)
	p.findZero(out)
	p.index = f.groupIndex(main, in, p.grid.cols)
	return f.view(Compressed, []int64{out, in}, p.open, main, p.scale, p.zero, shape, p.index)
}

// packedBits is the width of codes of which in fill a number of words; 0 for none.
func packedBits(in, words int64) int64 {
	for _, bits := range []int64{4, 8, 2, 3, 5, 6} {
		if (in*bits+31)/32 == words {
			return bits
		}
	}
	return 0
}

func isOneOf(d formats.DType, types []formats.DType) bool {
	for _, t := range types {
		if d == t {
			return true
		}
	}
	return false
}

// compressed is what findCompressed found out.
type compressed struct {
	f                        *finder
	main, scale, zero, index int
	in, bits                 int64
	grid                     gridShape
	zeroPacked               bool
}

func (p *compressed) isGrid(s *formats.Tensor) bool {
	g, ok := fitGrid([]int64{p.f.tensors[p.main].Shape[0], p.in}, s.Shape)
	return ok && g.br == 1 && s.Data.Strides == nil
}

func (p *compressed) findZero(out int64) {
	p.zeroPacked = true
	packedRows := (out*p.bits + 31) / 32
	p.zero = p.f.companion(p.main, func(z part) bool {
		return isMatrix(z.Tensor, formats.I32, formats.U32) && hasShape(z.Tensor, packedRows, p.grid.cols)
	})
	if p.zero < 0 {
		p.zeroPacked = false
		p.zero = p.f.companion(p.main, func(z part) bool {
			g, ok := fitGrid([]int64{out, p.in}, z.Shape)
			return ok && z.DType == formats.I8 && g == p.grid
		})
	}
}

func (p *compressed) open() (rowSource, error) {
	t := &p.f.tensors[p.main]
	codes, err := openCodes(t, p.bits, codeDecoder(p.bits))
	if err != nil {
		return nil, err
	}
	scale, err := openGrid(&p.f.tensors[p.scale], p.grid)
	if err != nil {
		return nil, err
	}
	a := &affine{codes: codes, cols: p.in, width: t.Shape[1] * 32 / p.bits, scale: scale, factor: 1, shift: float32(int(1) << (p.bits - 1))}
	if p.zero >= 0 && p.zeroPacked {
		w, err := openWords(&p.f.tensors[p.zero])
		if err != nil {
			return nil, err
		}
		a.shift = 0 // codes and zero points have it both
		a.zero = newGrid(&columnCodes{words: w, bits: p.bits, cols: p.grid.cols}, p.grid, p.grid.cols)
	} else if p.zero >= 0 {
		if a.zero, err = openGrid(&p.f.tensors[p.zero], p.grid); err != nil {
			return nil, err
		}
	}
	if p.index >= 0 {
		if a.index, err = readGroupIndex(&p.f.tensors[p.index], p.in, p.grid.cols); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// columnCodes reads a matrix of codes that are packed along the rows axis.
type columnCodes struct {
	words *words
	bits  int64
	cols  int64
	buf   []uint32
}

func (c *columnCodes) readAt(dst []float32, at int64) error {
	if int64(len(c.buf)) < c.cols {
		c.buf = make([]uint32, c.cols)
	}
	for len(dst) > 0 {
		row, col := at/c.cols, at%c.cols
		line := c.buf[:min(int64(len(dst)), c.cols-col)]
		if err := c.words.read(line, row*c.bits/32, col); err != nil {
			return err
		}
		shift := row * c.bits % 32
		for i, word := range line {
			dst[i] = float32(word >> shift & (1<<c.bits - 1))
		}
		if shift+c.bits > 32 { // the code goes on in the next word
			if err := c.words.read(line, row*c.bits/32+1, col); err != nil {
				return err
			}
			for i, word := range line {
				dst[i] += float32(word << (32 - shift) & (1<<c.bits - 1))
			}
		}
		dst, at = dst[len(line):], at+int64(len(line))
	}
	return nil
}
