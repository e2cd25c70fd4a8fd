package quant

import (
	"fmt"
	"slices"
	"strings"

	"weightwarden/formats"
)

// scaledTypes are the types that carry weights only together with a scale.
var scaledTypes = []formats.DType{formats.I8, formats.U8, formats.I4, formats.U4, formats.F8E4M3, formats.F8E5M2,
	formats.F8E4M3Z, formats.F8E5M2Z, formats.F4E2M1, formats.NVFP4}

// findScaled recognises small integers and floats with scales beside them: one
// for all, one a row, one a column or one a block (DeepSeek's 128 by 128), with or
// without zero points, as PyTorch checkpoints, LLM.int8() and ONNX write them.
func findScaled(f *finder, main int) (View, bool) {
	t := &f.tensors[main]
	if !slices.Contains(scaledTypes, t.DType) || len(t.Shape) < 2 || t.Data.Strides != nil || !readable(t) {
		return View{}, false
	}
	shapes := [][]int64{t.Shape}
	if rows, cols, ok := Matrix(t.Shape); ok && len(t.Shape) > 2 && rows == t.Shape[0] {
		shapes = append(shapes, []int64{rows, cols}) // a filter with a scale a channel
	}
	for _, shape := range shapes {
		if v, ok := f.scaled(main, shape); ok {
			return v, ok
		}
	}
	return View{}, false
}

func (f *finder) scaled(main int, shape []int64) (View, bool) {
	t := &f.tensors[main]
	si := f.companion(main, func(s part) bool {
		g, ok := fitScale(shape, s.Tensor)
		return ok && g.br*g.bc > 1 && g.rows*g.planes > 1 && g.cols > 1 && scales(t, s)
	})
	if si < 0 {
		si = f.relative(main, func(s part) bool {
			_, ok := fitScale(shape, s.Tensor)
			return ok && scales(t, s)
		})
	}
	if si < 0 {
		return View{}, false
	}
	scale := &f.tensors[si]
	g, _ := fitScale(shape, scale)
	zi := f.relative(main, func(z part) bool {
		zg, ok := fitScale(shape, z.Tensor)
		return ok && zg == g && (z.DType == t.DType || z.DType == formats.I32) && !t.DType.IsFloat()
	})
	open := func() (rowSource, error) {
		var zero *formats.Tensor
		if zi >= 0 {
			zero = &f.tensors[zi]
		}
		return openScaled(t, shape, scale, zero, g)
	}
	return f.view(Scaled, shape, open, main, si, zi)
}

// scales reports whether s can be the scales of t; bytes can be powers of two for
// FP8 alone.
func scales(t *formats.Tensor, s part) bool {
	return isScale(s) && (s.DType != formats.U8 || t.DType == formats.F8E4M3 || t.DType == formats.F8E5M2)
}

// fitScale is fitGrid for a companion of any shape: a filter's scales may have
// axes of length one behind the first.
func fitScale(shape []int64, s *formats.Tensor) (gridShape, bool) {
	if s.Data.Strides != nil || s.DType.IsBlock() {
		return gridShape{}, false
	}
	if g, ok := fitGrid(shape, s.Shape); ok {
		return g, true
	}
	if len(shape) == 2 && len(s.Shape) > 2 && s.Shape[0] == shape[0] && s.Elements() == shape[0] {
		return fitGrid(shape, s.Shape[:1])
	}
	return gridShape{}, false
}

// isScale reports whether numbers can be scales of small codes: real, not
// negative, and small, as neither biases nor the gains of norms are.
func isScale(s part) bool {
	if strings.Contains(s.Name, "input") || strings.Contains(s.Name, "bias") {
		return false
	}
	switch s.DType {
	case formats.U8, formats.F8E8M0:
		return s.look().powers
	case formats.F16, formats.BF16, formats.F32, formats.F64:
		return s.look().positive && s.look().mean < 4
	}
	return false
}

// isPlainScale is isScale for the one f32 of an NVFP4 tensor, of any size.
func isPlainScale(s part) bool {
	return s.Elements() == 1 && s.DType == formats.F32 && s.look().positive && !strings.Contains(s.Name, "input")
}

// positive reports whether all numbers are finite, none is negative and one is
// above zero.
func positive(x []float32) bool {
	for _, v := range x {
		if !(v >= 0) || v-v != 0 {
			return false
		}
	}
	return len(x) > 0 && slices.Max(x) > 0
}

// absmaxScale is where scales of a row of int8 turn out to be its largest
// absolute values, as LLM.int8() keeps them: taken for steps they would make
// weights beyond 127/32.
const absmaxScale = 1.0 / 32

func openScaled(t *formats.Tensor, shape []int64, scale, zero *formats.Tensor, g gridShape) (rowSource, error) {
	codes, err := openPacked(t)
	if err != nil {
		return nil, err
	}
	powers := *scale
	if scale.DType == formats.U8 {
		powers.DType = formats.F8E8M0
	}
	s, err := openGrid(&powers, g)
	if err != nil {
		return nil, err
	}
	cols := shape[len(shape)-1]
	a := &affine{codes: codes, cols: cols, width: cols, scale: s, factor: 1}
	if t.DType == formats.I8 && g.bc == cols && zero == nil && g.rows > 1 && meanOf(sample(scale, 4096)) > absmaxScale {
		a.factor = 1.0 / 127
	}
	if zero == nil {
		return a, nil
	}
	if zero.Elements() != scale.Elements() {
		return nil, fmt.Errorf("%w: %d zero points for %d scales", formats.ErrMalformed, zero.Elements(), scale.Elements())
	}
	a.zero, err = openGrid(zero, g)
	return a, err
}
