package fingerprint

import "weightwarden/formats"

// relationOf tells a cast from a quantisation from training, by how far the rows
// moved against what the number formats explain.
// rearranged says that the suspect's tensor is larger, smaller, transposed, or was read otherwise.
func relationOf(reg, sus *Tensor, distance float64, rearranged bool) Relation {
	noise := max(noiseOf(sus), noiseOf(reg))
	if reg.Sketch != nil {
		// In short rows a bucket sums few weights: those that a quantiser sets to
		// zero flip bits by themselves.
		noise *= 1 + 96/float64(max(reg.Sketch.Length, 64))
	}
	quantised := isQuantised(sus) && !isQuantised(reg) || noiseOf(sus) > noiseOf(reg) && isQuantised(sus)
	switch {
	case quantised && distance <= 1.6*noise+0.004:
		return Quantised
	case quantised:
		return Derived
	case distance <= noise+0.0014 && (sus.DType != reg.DType || sus.Packing != reg.Packing):
		return Cast
	case distance == 0 && rearranged:
		return Repackaged // fused, split, transposed or extended: no tensor digest can agree
	}
	return Derived
}

func isQuantised(t *Tensor) bool {
	if t.Packing != "plain" {
		return true
	}
	_, bits := t.DType.Block()
	return bits <= 8
}

// noiseOf is the share of sketch bits that a number format flips, measured with
// the formats' own quantisers on Gaussian, heavy-tailed and outlier-ridden rows
// (the largest of the three); docs/fingerprint-spec.md has the table.
func noiseOf(t *Tensor) float64 {
	if t.Packing != "plain" && t.Packing != "ggml" {
		return 16.0 / 256 // packed families of 4 bits; 8-bit ones lie under it
	}
	const unit = 1.0 / 256
	switch t.DType {
	case formats.F64, formats.F32, formats.F16:
		return 0.1 * unit
	case formats.BF16:
		return 0.3 * unit
	case formats.F8E4M3, formats.F8E4M3Z:
		return 3 * unit
	case formats.F8E5M2, formats.F8E5M2Z:
		return 5.5 * unit
	case formats.I8, formats.U8, formats.I16:
		return 4 * unit
	case formats.Q8_0, formats.Q8_1, formats.Q8_K:
		return 0.8 * unit
	case formats.Q6_K:
		return 2 * unit
	case formats.Q5_K, formats.Q5_0, formats.Q5_1:
		return 5 * unit
	case formats.Q4_K, formats.IQ4_NL, formats.IQ4_XS:
		return 8 * unit
	case formats.Q4_0, formats.Q4_1, formats.Q4_0_44, formats.Q4_0_48, formats.Q4_0_88:
		return 10 * unit
	case formats.MXFP4, formats.NVFP4, formats.F4E2M1, formats.I4, formats.U4:
		return 14 * unit
	case formats.Q3_K, formats.IQ3_S, formats.IQ3_XXS:
		return 18 * unit
	case formats.Q2_K, formats.IQ2_S, formats.IQ2_XS, formats.IQ2_XXS, formats.I2, formats.U2, formats.Q2_0:
		return 34 * unit
	case formats.TQ1_0, formats.TQ2_0, formats.IQ1_S, formats.IQ1_M, formats.Q1_0:
		return 94 * unit
	}
	return 0.3 * unit
}
