package quant

// affine reads a matrix of codes whose rows follow each other, with a grid of
// scales: (code - shift - zero) * scale * factor + bias. Products are rounded
// before anything is added, on every processor alike.
type affine struct {
	codes  *packed
	cols   int64
	width  int64 // codes from one row to the next, at least cols
	shift  float32
	zero   *grid // nil for none
	scale  *grid
	factor float32 // 1 for none
	divide bool    // by factor, not multiply
	bias   *grid   // nil for none
	index  []int32 // the grid column of every column, nil for blocks in order
}

func (a *affine) read(dst []float32, row, col int64) error {
	if err := a.codes.readAt(dst, row*a.width+col); err != nil {
		return err
	}
	if a.zero != nil {
		zero, err := a.zero.row(row)
		if err != nil {
			return err
		}
		a.each(dst, zero, a.zero.bc, col, func(y []float32, z float32) { subtract(y, z+a.shift) })
	} else if a.shift != 0 {
		subtract(dst, a.shift)
	}
	scale, err := a.scale.row(row)
	if err != nil {
		return err
	}
	a.each(dst, scale, a.scale.bc, col, func(y []float32, s float32) {
		if a.divide {
			multiply(y, s/a.factor)
		} else {
			multiply(y, s*a.factor)
		}
	})
	if a.bias == nil {
		return nil
	}
	bias, err := a.bias.row(row)
	if err != nil {
		return err
	}
	a.each(dst, bias, a.bias.bc, col, func(y []float32, b float32) { subtract(y, -b) })
	return nil
}

// each hands the runs of dst that share a number of the grid row to f.
func (a *affine) each(dst, grid []float32, block, col int64, f func([]float32, float32)) {
	if a.index == nil {
		blockwise(dst, grid, block, col, f)
		return
	}
	for i := range dst {
		f(dst[i:i+1], grid[a.index[col+int64(i)]])
	}
}

// blockwise hands each run of dst that shares a number of the grid row to f. The
// first element of dst is column col.
func blockwise(dst, grid []float32, block, col int64, f func([]float32, float32)) {
	for len(dst) > 0 {
		k := min(block-col%block, int64(len(dst)))
		f(dst[:k], grid[col/block])
		dst, col = dst[k:], col+k
	}
}

func multiply(y []float32, s float32) {
	for i := range y {
		y[i] *= s
	}
}

func subtract(y []float32, z float32) {
	for i := range y {
		y[i] -= z
	}
}
