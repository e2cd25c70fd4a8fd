package quant

import (
	"slices"

	"weightwarden/formats"
)

// decodeE2M1 reads FP4 codes, the low nibble of a byte first.
func decodeE2M1(dst []float32, src []byte) { decodeTable4(dst, src, &tableE2M1) }

// openFP4 reads FP4 codes along the rows of shape with small-float scales.
func openFP4(t *formats.Tensor, shape []int64, scales *formats.Tensor, scaleType formats.DType, factor float32) (*affine, error) {
	codes, err := openCodes(t, 4, decodeE2M1)
	if err != nil {
		return nil, err
	}
	return openMicroscaled(codes, shape, scales, scaleType, factor)
}

// openMicroscaled reads codes along the rows of shape with small-float scales, one
// a block of 16 or 32.
func openMicroscaled(codes *packed, shape []int64, scales *formats.Tensor, scaleType formats.DType, factor float32) (*affine, error) {
	retyped := *scales
	retyped.DType = scaleType
	in := shape[len(shape)-1]
	rows, _ := formats.Elements(shape[:len(shape)-1])
	blocks := scales.Elements() / rows
	g := gridShape{plane: rows, planes: 1, rows: rows, cols: blocks, br: 1, bc: in / blocks}
	s, err := openGrid(&retyped, g)
	if err != nil {
		return nil, err
	}
	return &affine{codes: codes, cols: in, width: in, scale: s, factor: factor}, nil
}

// fp4Shape is the logical shape of FP4 codes: two a byte in U8 tensors.
func fp4Shape(t *formats.Tensor) []int64 {
	shape := slices.Clone(t.Shape)
	if t.DType == formats.U8 {
		shape[len(shape)-1] *= 2
	}
	return shape
}

// fp4Main reports whether t may hold FP4 codes of a family.
func fp4Main(t *formats.Tensor) bool {
	return len(t.Shape) >= 2 && t.Data.Strides == nil && (t.DType == formats.U8 || t.DType == formats.F4E2M1) &&
		readable(t) && t.Shape[len(t.Shape)-1] <= maxFamilyCols
}

// findMXFP4 recognises microscaling FP4: bytes of two codes with an E8M0 scale for
// 32 of them, as gpt-oss stores it ([..., blocks, 16] with scales [..., blocks])
// or along the row as compressed-tensors does ([..., in/2], [..., in/32]).
func findMXFP4(f *finder, main int) (View, bool) {
	t := &f.tensors[main]
	if !fp4Main(t) {
		return View{}, false
	}
	logical := fp4Shape(t)
	stacked := len(t.Shape) >= 3 && logical[len(logical)-1] == 32
	si := f.companion(main, func(s part) bool {
		if s.DType != formats.U8 && s.DType != formats.F8E8M0 || s.Data.Strides != nil || !s.look().powers {
			return false
		}
		return stacked && slices.Equal(s.Shape, t.Shape[:len(t.Shape)-1]) ||
			sameLead(t.Shape, s.Shape) && 32*s.Shape[len(s.Shape)-1] == logical[len(logical)-1]
	})
	if si < 0 {
		return View{}, false
	}
	if len(f.tensors[si].Shape) < len(logical) {
		logical = append(slices.Clone(logical[:len(logical)-2]), 32*logical[len(logical)-2])
	}
	open := func() (rowSource, error) {
		a, err := openFP4(t, logical, &f.tensors[si], formats.F8E8M0, 1)
		if err != nil {
			return nil, err // not a nil *affine, which would be a rowSource
		}
		return a, nil
	}
	return f.view(MXPair, logical, open, main, si)
}

// likelyPowers reports whether bytes are exponents of scales of weights: within
// some powers of two of each other, and below one or little above.
func likelyPowers(x []float32) bool {
	if len(x) == 0 {
		return false
	}
	x = slices.Clone(x)
	slices.Sort(x)
	low, high := x[len(x)/20], x[len(x)-1]
	return high-low <= 24 && high <= 136 && high >= 80
}

// findNVFP4 recognises NVFP4: FP4 codes along the row, an E4M3 scale for 16 of
// them, and one f32 for the tensor, which ModelOpt multiplies by and
// compressed-tensors divides by: those above one are divided by.
func findNVFP4(f *finder, main int) (View, bool) {
	t := &f.tensors[main]
	if !fp4Main(t) {
		return View{}, false
	}
	logical := fp4Shape(t)
	si := f.companion(main, func(s part) bool {
		return s.DType == formats.F8E4M3 && s.Data.Strides == nil && sameLead(t.Shape, s.Shape) &&
			16*s.Shape[len(s.Shape)-1] == logical[len(logical)-1]
	})
	if si < 0 {
		return View{}, false
	}
	gi := f.relative(main, isPlainScale)
	factor := float32(1)
	if gi >= 0 {
		factor = sample(&f.tensors[gi], 1)[0]
	}
	open := func() (rowSource, error) {
		a, err := openFP4(t, logical, &f.tensors[si], formats.F8E4M3, factor)
		if err != nil {
			return nil, err
		}
		a.divide = factor > 1
		return a, nil
	}
	return f.view(NVPair, logical, open, main, si, gi)
}
