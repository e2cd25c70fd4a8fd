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
	bits := int64(4)
	zeros := func(width int64) func(part) bool {
		return func(z part) bool {
			return z.DType == formats.U8 && (hasShape(z.Tensor, out*width) || hasShape(z.Tensor, out, width))
		}
	}
	zi := f.companion(main, zeros((blocks+1)/2))
	if zi < 0 && blocks > 1 {
		if zi = f.companion(main, zeros(blocks)); zi >= 0 {
			bits = 8
		}
	}
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
