package quant

import (
	"slices"
	"strings"

	"weightwarden/formats"
)

// maxFamilyCols bounds the row length of a family, and with it the memory for
// scales of a row. The longest rows of known models are some 10^5 long.
const maxFamilyCols = 1 << 20

// leastCodes is the smallest main tensor of a family, in its own elements.
const leastCodes = 64

// codeTypes are the types of main tensors: words and bytes of codes, and the
// small numbers of scaledTypes.
var codeTypes = append([]formats.DType{formats.I32, formats.U32, formats.I16, formats.U16, formats.U1, formats.U2, formats.U3, formats.U6}, scaledTypes...)

// family recognises the main tensor of a packing scheme and its companions.
type family func(f *finder, main int) (View, bool)

// families are tried in order; the first that fits takes the tensors.
func families() []family {
	return []family{findGPTQ, findAWQ, findAWQVector, findAWQFast, findCompressed, findMLX, findBnb4,
		findMXFP4, findNVFP4, findNBits,
		findTable, findSteps, findSparse, findScaled}
}

// weightName is the name that the unpacked weight would have.
func weightName(name string) string {
	for _, s := range []struct{ packed, weight string }{{".qweight", ".weight"}, {".weight_packed", ".weight"},
		{"_blocks", ""}, {"_quantized", ""}, {"_Q4", ""}, {"_Q8", ""}, {".indices", ""}, {".quantized_data", ""}, {".data", ""}, {".quantized", ""}, {".mask", ""}} {
		if base, ok := strings.CutSuffix(name, s.packed); ok && base != "" {
			return base + s.weight
		}
	}
	return name
}

// hasShape reports whether t is a readable, contiguous tensor of these lengths.
func hasShape(t *formats.Tensor, shape ...int64) bool {
	return slices.Equal(t.Shape, shape) && t.Data.Strides == nil
}

// isMatrix reports whether t is a contiguous matrix of some of these types.
func isMatrix(t *formats.Tensor, types ...formats.DType) bool {
	return len(t.Shape) == 2 && t.Data.Strides == nil && slices.Contains(types, t.DType) && readable(t)
}

// realTypes are the types that scales may have.
var realTypes = []formats.DType{formats.F16, formats.BF16, formats.F32, formats.F64}

// view makes the View of a family of the given tensors, the main one first.
func (f *finder) view(scheme string, shape []int64, open func() (rowSource, error), tensors ...int) (View, bool) {
	n, ok := formats.Elements(shape)
	if !ok || n == 0 || len(shape) == 0 || shape[len(shape)-1] > maxFamilyCols {
		return View{}, false
	}
	v := View{Name: weightName(f.tensors[tensors[0]].Name), Scheme: scheme, DType: f.tensors[tensors[0]].DType,
		Shape: shape, Cols: shape[len(shape)-1], open: open}
	v.Rows = n / v.Cols
	for _, i := range tensors {
		if i >= 0 {
			v.Tensors = append(v.Tensors, i)
		}
	}
	return v, true
}

// sample reads up to n numbers from the start of t; nil where it cannot be read.
func sample(t *formats.Tensor, n int64) []float32 {
	if t.Data.Strides != nil || Numbers(t.DType) != 1 {
		return nil
	}
	p, err := openPacked(t)
	if err != nil {
		return nil
	}
	x := make([]float32, min(n, p.total))
	if p.readAt(x, 0) != nil {
		return nil
	}
	return x
}
