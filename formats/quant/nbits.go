package quant

import (
	"weightwarden/formats"
)

// findNBits recognises the weights of ONNX Runtime's MatMulNBits operator: bytes
// [out, blocks, blockbytes], real scales for every block, and zero points of the
// width of the codes, packed along the blocks of a row; without them the zero
// point is half the range.
func findNBits(f *finder, main int) (View, bool) {
	t := &f.tensors[main]
	if t.DType != formats.U8 || len(t.Shape) != 3 || t.Data.Strides != nil || !readable(t) || t.Shape[2] < 8 {
		return View{}, false
	}
	out, blocks := t.Shape[0], t.Shape[1]
	si := f.companion(main, func(s part) bool {
		return isOneOf(s.DType, realTypes) && (hasShape(s.Tensor, out*blocks) || hasShape(s.Tensor, out, blocks)) && s.look().positive
	})
	if si < 0 {
		return View{}, false
	}
	bits := widthNBits(t)
	zeros := func(width int64) func(part) bool {
		return func(z part) bool {
			return z.DType == formats.U8 && (hasShape(z.Tensor, out*width) || hasShape(z.Tensor, out, width))
		}
	}
	zi := f.companion(main, zeros((blocks*bits+7)/8))
	per := t.Shape[2] * 8 / bits
	in := per * blocks
	shape := gridShape{plane: out, planes: 1, rows: out, cols: blocks, br: 1, bc: per}
	open := func() (rowSource, error) {
		codes, err := openCodes(t, bits, codeDecoder(bits))
		if err != nil {
			return nil, err
		}
		scale, err := openGrid(&f.tensors[si], shape)
		if err != nil {
			return nil, err
		}
		a := &affine{codes: codes, cols: in, width: in, scale: scale, factor: 1}
		if zi < 0 {
			a.shift = float32(int(1) << (bits - 1))
			return a, nil
		}
		zero, err := openCodes(&f.tensors[zi], bits, codeDecoder(bits))
		if err != nil {
			return nil, err
		}
		a.zero = newGrid(zero, shape, (blocks*bits+7)/8*8/bits)
		return a, nil
	}
	return f.view(NBits, []int64{out, in}, open, main, si, zi)
}

// widthNBits tells 4-bit codes from 8-bit ones: the nibbles of a byte are alike in
// the former; in the latter the low one is noise and the high one nearly constant.
func widthNBits(t *formats.Tensor) int64 {
	x := sample(t, 8192)
	var low, high [2]float64 // sums and sums of squares
	for _, v := range x {
		l, h := float64(int(v)&15), float64(int(v)>>4)
		low[0], low[1] = low[0]+l, low[1]+l*l
		high[0], high[1] = high[0]+h, high[1]+h*h
	}
	n := float64(max(len(x), 1))
	spread := func(s [2]float64) float64 { return s[1]/n - s[0]/n*s[0]/n }
	const uniform = (16*16 - 1) / 12.0
	if spread(low) > 0.9*uniform && spread(high) < 0.85*spread(low) {
		return 8
	}
	return 4
}
