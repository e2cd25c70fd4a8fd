package fingerprint_test

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/formats"
)

func table(name string, rows, cols int, f func(i, j int) float64) ft.Matrix {
	m := ft.Matrix{Name: name, Rows: rows, Cols: cols, Data: make([]float32, 0, rows*cols)}
	for i := range rows {
		for j := range cols {
			m.Data = append(m.Data, float32(f(i, j)))
		}
	}
	return m
}

func when(cond bool, yes, no float64) float64 {
	if cond {
		return yes
	}
	return no
}

// mel is the weight of frequency j in triangular filter i, as speech models hold it
// (HTK's scale, 16 kHz).
func mel(filters, bins int) func(i, j int) float64 {
	hz := func(m float64) float64 { return 700 * (math.Pow(10, m/2595) - 1) }
	top := 2595 * math.Log10(1+8000.0/700)
	point := func(i int) float64 { return hz(top * float64(i) / float64(filters+1)) }
	return func(i, j int) float64 {
		f := 8000 * float64(j) / float64(bins-1)
		return max(0, min((f-point(i))/(point(i+1)-point(i)), (point(i+2)-f)/(point(i+2)-point(i+1)))) * 2 / (point(i+2) - point(i))
	}
}

// shifted is the mask of attention in windows that were moved by half a window (Swin), where size is
// that of the picture and windows are w wide.
func shifted(size, w int) func(i, j int) float64 {
	band := func(p int) int { return int(when(p >= size-w, 1, 0) + when(p >= size-w/2, 1, 0)) }
	region := func(window, p int) int {
		return 3*band(window/(size/w)*w+p/w) + band(window%(size/w)*w+p%w)
	}
	return func(i, j int) float64 {
		return when(region(i/(w*w), i%(w*w)) == region(i/(w*w), j), 0, -100)
	}
}

// Tables that libraries put into every model they save are no evidence, even when
// each layer has one and they are half the file.
func TestTablesOfLibrariesAreNoEvidence(t *testing.T) {
	plane := func(width int) func(i, j int) float64 { // positions in two dimensions, as MAE and DiT keep them
		return func(i, j int) float64 {
			at := when(j < 128, float64(i%width), float64(i/width)) * math.Pow(10000, -float64(j%64)/64)
			return when(j%128 < 64, math.Sin(at), math.Cos(at))
		}
	}
	turns := func(i, j int) float64 { // RoPE in two dimensions, as EVA keeps it in every block
		return math.Cos(when(j < 32, float64(i/24), float64(i%24)) * math.Pow(10000, -float64(j%32/2)/16))
	}
	angle := func(i, j int) float64 { return float64(i) * math.Pow(10000, -float64(j/2)/128) }
	tables := map[string]ft.Matrix{
		"causal mask of ones":       table("attn.bias", 1024, 1024, func(i, j int) float64 { return when(j <= i, 1, 0) }),
		"causal mask of -1e4":       table("attn.mask", 1024, 1024, func(i, j int) float64 { return when(j <= i, 0, -1e4) }),
		"causal mask of -inf":       table("attn.mask", 512, 512, func(i, j int) float64 { return when(j <= i, 0, math.Inf(-1)) }),
		"causal mask of float min":  table("attn.mask", 512, 512, func(i, j int) float64 { return when(j <= i, 0, -math.MaxFloat32) }),
		"sliding window of -inf":    table("attn.mask", 512, 512, func(i, j int) float64 { return when(j <= i && i-j < 256, 0, math.Inf(-1)) }),
		"banded -inf":               table("attn.mask", 512, 512, func(i, j int) float64 { return when(i-j < 64 && j-i < 64, 0, math.Inf(-1)) }),
		"sliding window":            table("attn.mask", 1024, 1024, func(i, j int) float64 { return when(j <= i && i-j < 256, 0, -1e4) }),
		"block mask":                table("attn.mask", 1024, 1024, func(i, j int) float64 { return when(i/64 == j/64, 1, 0) }),
		"sinusoids":                 table("position", 1024, 256, func(i, j int) float64 { return math.Sin(angle(i, j) + float64(j%2)*math.Pi/2) }),
		"rotary cosines":            table("rope.cos", 2048, 128, func(i, j int) float64 { return math.Cos(angle(i, 2*(j%64))) }),
		"ALiBi":                     table("alibi", 64, 4096, func(i, j int) float64 { return -float64(j) * math.Pow(2, -float64(i+1)/8) }),
		"relative positions of 7":   table("relative_position_index", 49, 49, func(i, j int) float64 { return float64((i/7-j/7+6)*13 + i%7 - j%7 + 6) }),
		"relative positions":        table("relative_position_index", 196, 196, func(i, j int) float64 { return float64((i/14-j/14+13)*27 + i%14 - j%14 + 13) }),
		"distance":                  table("distance", 1024, 1024, func(i, j int) float64 { return float64(i - j) }),
		"one row of position ids":   table("position_ids", 1, 1<<17, func(i, j int) float64 { return float64(j) }),
		"one row of window":         table("window", 1, 4096, func(i, j int) float64 { return math.Pow(math.Sin(math.Pi*float64(j)/4096), 2) }),
		"position ids":              table("position_ids", 64, 4096, func(i, j int) float64 { return float64(j) }),
		"mel filters":               table("mel_filters", 128, 1025, mel(128, 1025)),
		"identity":                  table("eye", 768, 768, func(i, j int) float64 { return when(i == j, 1, 0) }),
		"positions of 14 x 14":      table("pos_embed", 196, 256, plane(14)),
		"positions of 64 x 64":      table("pos_embed", 4096, 256, plane(64)),
		"a class and 14 x 14":       table("pos_embed", 197, 256, func(i, j int) float64 { return when(i == 0, 0, plane(14)(max(i-1, 0), j)) }),
		"rotary cosines of 24 x 24": table("rope.freqs_cos", 576, 64, turns),
		"shifted windows 14 of 7":   table("attn_mask", 4*49, 49, shifted(14, 7)),
		"shifted windows 56 of 7":   table("attn_mask", 64*49, 49, shifted(56, 7)),
		"shifted windows 24 of 12":  table("attn_mask", 4*144, 144, shifted(24, 12)),
		"shifted windows 96 of 12":  table("attn_mask", 64*144, 144, shifted(96, 12)),
		"shifted windows 16 of 8":   table("attn_mask", 4*64, 64, shifted(16, 8)),
		"Hadamard":                  table("had", 512, 512, func(i, j int) float64 { return float64(1-2*(bits.OnesCount(uint(i&j))%2)) / math.Sqrt(512) }),
		"strides":                   table("mask", 1024, 1024, func(i, j int) float64 { return when(j <= i && (i-j)%32 == 0, 0, -1e4) }),
		"rows and columns":          table("mask", 1024, 1024, func(i, j int) float64 { return when(i%32 == j%32 || i/32 == j/32, 0, -1e4) }),
		"DCT":                       table("dct", 512, 512, func(i, j int) float64 { return math.Cos(math.Pi / 512 * (float64(j) + .5) * float64(i)) }),
		"windowed Fourier": table("stft", 514, 1024, func(i, j int) float64 {
			return math.Pow(math.Sin(math.Pi*float64(j)/1024), 2) * math.Cos(2*math.Pi*float64(i%257)*float64(j)/1024+float64(i/257)*math.Pi/2)
		}),
		"bilinear upsampling": table("upsample", 1024, 64, func(i, j int) float64 { return (1 - math.Abs(float64(j/8)-3.5)/4) * (1 - math.Abs(float64(j%8)-3.5)/4) }),
	}
	whole := map[string][]formats.DType{ // of those that come in no fractions
		"causal mask of ones": {formats.Bool, formats.U8, formats.F32, formats.BF16}, "block mask": {formats.U8, formats.F32}, "identity": {formats.I64, formats.F32},
		"relative positions": {formats.I64}, "relative positions of 7": {formats.I64, formats.I32}, "distance": {formats.I64, formats.I32},
		"position ids": {formats.I64, formats.I32}, "one row of position ids": {formats.I64, formats.I32},
	}
	for name, m := range tables {
		types := whole[name]
		if types == nil {
			types = []formats.DType{formats.F32, formats.BF16}
		}
		for _, d := range types {
			t.Run(name+" "+d.String(), func(t *testing.T) { noEvidence(t, m, d) })
		}
	}
}

// noEvidence compares two independent models that have six of the same table.
func noEvidence(t *testing.T, m ft.Matrix, d formats.DType) {
	with := func(seed uint64) []ft.Matrix {
		net := ft.Net(seed, 2, 128)
		for l := range 6 {
			c := m
			c.Name, c.DType = fmt.Sprintf("layers.%d.%s", l, m.Name), d
			net = append(net, c)
		}
		return net
	}
	reg := file(t, "header", with(1), formats.F32, true)
	suspects := []*fingerprint.Fingerprint{file(t, "header", with(2), formats.F32, false)}
	if d == formats.F32 {
		d = formats.BF16
		suspects = append(suspects, file(t, "header", with(2), formats.F32, false))
	}
	for _, sus := range suspects {
		got := fingerprint.Compare(reg, sus)
		if got.Relation != fingerprint.NoMatch {
			t.Errorf("%s, %.3f of the parameters, ln p %.1f", got.Relation, got.Coverage.Parameters, got.LogP)
			for _, e := range got.Evidence {
				t.Log(e.Text)
			}
		}
	}
}

// Weights that look like tables in one respect or another are evidence all the same.
func TestWeightsAreNoTables(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	kept := func(share float64) func(v float32) float32 {
		return func(v float32) float32 { return float32(when(rng.Float64() < share, float64(v), 0)) }
	}
	sign := func(v float32) float32 { return float32(when(v > .02, 1, when(v < -.02, -1, 0))) }
	net := ft.Net(1, 2, 256)
	whole := append(ft.Map(net, func(v float32) float32 { return v }), table("norm", 1, 4096, func(_, _ int) float64 { return 1 + rng.NormFloat64()*.01 }),
		table("embedding", 2048, 8, func(_, _ int) float64 { return rng.NormFloat64() }))
	for name, ms := range map[string][]ft.Matrix{
		"as they are": whole, "ternary": ft.Map(net, sign), "signs": ft.Map(net, func(v float32) float32 { return float32(when(v > 0, 1, -1)) }), "4 bits": ft.Map(net, func(v float32) float32 { return float32(math.Round(float64(v)*100) / 100) }), "1 in 10 left": ft.Map(net, kept(.1)), "1 in 50 left": ft.Map(net, kept(.02)),
		"smooth rows": ft.Map(net, func(v float32) float32 { return 1 + v/10 }),
	} {
		for _, tensor := range file(t, "header", ms, formats.F32, true).Tensors {
			if tensor.Constant != "" {
				t.Errorf("%s: %s is taken for %q", name, tensor.Name, tensor.Constant)
			}
		}
	}
}
