package fingerprint

import (
	"weightwarden/fingerprint/internal/simd"
	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// DecodeValues is quant.Decode, by a vector kernel for the types that have one. The kernels give the same numbers.
// Results and errors are those of quant.Decode.
func DecodeValues(d formats.DType, dst []float32, src []byte) error {
	if fast := kernel(d); fast != nil && fast(dst, src) == len(dst) {
		return nil
	}
	return quant.Decode(d, dst, src)
}

// HasKernel reports whether DecodeValues has a vector kernel for a type, where the processor has what it needs.
func HasKernel(d formats.DType) bool { return kernel(d) != nil }

// Views is quant.Views, with the vector kernels for readers of what they can decode.
func Views(m *formats.Model) []quant.View {
	views := quant.Views(m)
	for i := range views {
		views[i].Kernels = kernel
	}
	return views
}

// kernel returns the vector decoder of a type, nil where there is none. It returns how many values it decoded.
func kernel(d formats.DType) func(dst []float32, src []byte) int {
	switch d {
	case formats.F32:
		return simd.WidenF32
	case formats.F16:
		return simd.WidenF16
	case formats.BF16:
		return simd.WidenBF16
	case formats.I8:
		return simd.WidenI8
	case formats.F8E4M3:
		return simd.WidenF8E4M3
	case formats.F8E5M2:
		return simd.WidenF8E5M2
	}
	if simd.HasBlocks() {
		return blockKernel(d)
	}
	return nil
}

// blockKernel is kernel for the block types of ggml.
func blockKernel(d formats.DType) func(dst []float32, src []byte) int {
	switch d {
	case formats.Q8_0:
		return simd.DecodeQ8_0
	case formats.Q4_0:
		return simd.DecodeQ4_0
	case formats.Q4_K:
		return simd.DecodeQ4_K
	case formats.Q6_K:
		return simd.DecodeQ6_K
	case formats.Q5_K:
		return simd.DecodeQ5_K
	case formats.Q3_K:
		return simd.DecodeQ3_K
	case formats.Q2_K:
		return simd.DecodeQ2_K
	case formats.IQ4_NL:
		return simd.DecodeIQ4_NL
	case formats.IQ4_XS:
		return simd.DecodeIQ4_XS
	case formats.MXFP4:
		return simd.DecodeMXFP4
	}
	return nil
}
