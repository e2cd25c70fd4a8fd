package quant

// affine reads a matrix of codes whose rows follow each other, with a grid of
// scales: (code - shift - zero) * scale + bias, where the scale may have a factor
// in common. Products are rounded before anything is added, on every processor
// alike. Zero points and biases have the same columns as the scales.
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
	var zero, bias []float32
	scale, err := a.scale.row(row)
	if err != nil {
		return err
	}
	if a.zero != nil {
		if zero, err = a.zero.row(row); err != nil {
			return err
		}
	}
	if a.bias != nil {
		if bias, err = a.bias.row(row); err != nil {
			return err
		}
	}
	if a.index != nil {
		for i := range dst {
			a.apply(dst[i:i+1], int64(a.index[col+int64(i)]), scale, zero, bias)
		}
		return nil
	}
	for len(dst) > 0 {
		k := min(a.scale.bc-col%a.scale.bc, int64(len(dst)))
		a.apply(dst[:k], col/a.scale.bc, scale, zero, bias)
		dst, col = dst[k:], col+k
	}
	return nil
}

// apply does one run of codes that share a grid column.
func (a *affine) apply(y []float32, at int64, scale, zero, bias []float32) {
	s, z := scale[at]*a.factor, a.shift
	if a.divide {
		s = scale[at] / a.factor
	}
	if zero != nil {
		z += zero[at]
	}
	switch {
	case bias != nil:
		b := bias[at]
		for i, x := range y {
			y[i] = float32((x-z)*s) + b
		}
	case z != 0:
		for i, x := range y {
			y[i] = (x - z) * s
		}
	default:
		for i := range y {
			y[i] *= s
		}
	}
}
