package quant

import (
	"slices"

	"weightwarden/formats"
)

// findMLX recognises the quantised matrices of Apple's MLX: words [..., out,
// in*bits/32] holding a stream of codes of 2, 3, 4, 5, 6 or 8 bits, with real
// scales and biases [..., out, in/group], code*scale + bias. The MX modes have
// FP4 codes and byte scales instead, per 32 (E8M0) or per 16 (E4M3), no biases.
func findMLX(f *finder, main int) (View, bool) {
	t := &f.tensors[main]
	if len(t.Shape) < 2 || t.Data.Strides != nil || (t.DType != formats.U32 && t.DType != formats.I32) || !readable(t) {
		return View{}, false
	}
	fits := func(types ...formats.DType) func(part) bool {
		return func(s part) bool {
			return slices.Contains(types, s.DType) && s.Data.Strides == nil && sameLead(t.Shape, s.Shape) && len(candidatesMLX(t, s.Tensor)) > 0
		}
	}
	first := f.companion(main, fits(realTypes...))
	if first < 0 {
		return findMLXFloat(f, main)
	}
	other := f.companion(main, func(s part) bool {
		return s.Tensor != &f.tensors[first] && s.DType == f.tensors[first].DType && slices.Equal(s.Shape, f.tensors[first].Shape) && s.Data.Strides == nil
	})
	if other < 0 {
		return View{}, false
	}
	// Biases are an end of their group's range, many steps of scale long.
	scale, bias := first, other
	if meanAbs(sample(&f.tensors[scale], 4096)) > meanAbs(sample(&f.tensors[bias], 4096)) {
		scale, bias = bias, scale
	}
	bits := widthMLX(t, &f.tensors[scale])
	in := t.Shape[len(t.Shape)-1] * 32 / bits
	shape := append(slices.Clone(t.Shape[:len(t.Shape)-1]), in)
	open := func() (rowSource, error) {
		return openAffine(t, bits, shape, &f.tensors[scale], &f.tensors[bias])
	}
	return f.view(MLX, shape, open, main, scale, bias)
}

// sameLead reports whether two shapes differ in the last axis only.
func sameLead(a, b []int64) bool {
	return len(a) == len(b) && slices.Equal(a[:len(a)-1], b[:len(b)-1])
}

// candidatesMLX lists the widths of codes, widest first, that make the groups of
// a scale tensor 16, 32, 64 or 128 inputs long.
func candidatesMLX(t, scales *formats.Tensor) []int64 {
	var list []int64
	words, groups := t.Shape[len(t.Shape)-1], scales.Shape[len(scales.Shape)-1]
	for _, bits := range []int64{8, 6, 5, 4, 3, 2} {
		in := words * 32 / bits
		if words*32%bits != 0 || groups < 1 || in%groups != 0 {
			continue
		}
		if group := in / groups; group == 16 || group == 32 || group == 64 || group == 128 {
			list = append(list, bits)
		}
	}
	return list
}

// widthMLX chooses among the widths that fit the shapes. The quantiser makes one
// end of every group's range code 0 and the other about the highest one, which a
// wrong width does not show.
func widthMLX(t, scales *formats.Tensor) int64 {
	list := candidatesMLX(t, scales)
	for _, bits := range list {
		group := t.Shape[len(t.Shape)-1] * 32 / bits / scales.Shape[len(scales.Shape)-1]
		codes, err := openCodes(t, bits, codeDecoder(bits))
		if err != nil {
			break
		}
		x := make([]float32, min(codes.total/group, 64)*group)
		if codes.readAt(x, 0) != nil {
			break
		}
		ends, groups := 0, len(x)/int(group)
		for g := range groups {
			part := x[g*int(group):][:group]
			if slices.Min(part) == 0 && slices.Max(part) >= 0.85*float32(int(1)<<bits-1) {
				ends++
			}
		}
		if 4*ends >= 3*groups {
			return bits
		}
	}
	if slices.Contains(list, 4) {
		return 4
	}
	return list[len(list)-1]
}

func meanAbs(x []float32) float64 {
	y := slices.Clone(x)
	for i, v := range y {
		y[i] = max(v, -v)
	}
	return meanOf(y)
}

// openAffine reads codes with scales and biases that are one a group of a row.
func openAffine(t *formats.Tensor, bits int64, shape []int64, scale, bias *formats.Tensor) (rowSource, error) {
	codes, err := openCodes(t, bits, codeDecoder(bits))
	if err != nil {
		return nil, err
	}
	g, _ := fitGrid(shape, scale.Shape)
	s, err := openGrid(scale, g)
	if err != nil {
		return nil, err
	}
	b, err := openGrid(bias, g)
	if err != nil {
		return nil, err
	}
	in := shape[len(shape)-1]
	return &affine{codes: codes, cols: in, width: in, scale: s, bias: b, factor: 1}, nil
}

// findMLXFloat recognises MLX's modes of small floats: mxfp4 and mxfp8 with an
// E8M0 scale for 32, nvfp4 with an E4M3 scale for 16, by the number of scales.
func findMLXFloat(f *finder, main int) (View, bool) {
	t := &f.tensors[main]
	words := t.Shape[len(t.Shape)-1]
	si := f.companion(main, func(s part) bool {
		if s.DType != formats.U8 || s.Data.Strides != nil || !sameLead(t.Shape, s.Shape) {
			return false
		}
		n := s.Shape[len(s.Shape)-1]
		return n > 0 && words%n == 0 && (words/n == 2 || words/n == 4 || words/n == 8)
	})
	if si < 0 {
		return View{}, false
	}
	bits, code, scale := int64(4), decodeE2M1, formats.F8E8M0
	switch words / f.tensors[si].Shape[len(t.Shape)-1] {
	case 2:
		scale = formats.F8E4M3
	case 8:
		bits, code = 8, plainDecoders[formats.F8E4M3]
	}
	shape := append(slices.Clone(t.Shape[:len(t.Shape)-1]), words*32/bits)
	open := func() (rowSource, error) {
		codes, err := openCodes(t, bits, code)
		if err != nil {
			return nil, err
		}
		a, err := openMicroscaled(codes, shape, &f.tensors[si], scale, 1)
		if err != nil {
			return nil, err
		}
		return a, nil
	}
	return f.view(MLX, shape, open, main, si)
}
