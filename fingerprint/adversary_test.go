package fingerprint_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/formats"
)

// rawTensor is a tensor as a file has it.
type rawTensor struct {
	name  string
	dtype formats.DType
	shape []int64
	data  []byte
}

// lay puts tensors one behind another.
func lay(tensors []rawTensor) (formats.Source, *formats.Model) {
	var b []byte
	for _, x := range tensors {
		b = append(b, x.data...)
	}
	src, m := formats.BytesSource(b), &formats.Model{Format: "test"}
	at := int64(0)
	for _, x := range tensors {
		m.Tensors = append(m.Tensors, formats.Tensor{Name: x.name, DType: x.dtype, Shape: x.shape,
			Data: formats.Extent{Source: src, Offset: at, Length: int64(len(x.data))}})
		at += int64(len(x.data))
	}
	return src, m
}

func random(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func numbers32(n int, f func(i int) float64) []byte {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(f(i))
	}
	return ft.Encode(v, n, formats.F32)
}

// gptq is layers as GPTQ packs them: which group a column is of stands beside each.
func gptq(seed uint64) (out []rawTensor) {
	const in, width, group = 8192, 64, 128
	rng := rand.New(rand.NewPCG(seed, 8))
	groups := make([]float32, in)
	for i := range groups {
		groups[i] = float32(i / group)
	}
	for l := range 12 {
		name := fmt.Sprintf("model.layers.%d.mlp.up_proj.", l)
		out = append(out, rawTensor{name + "qweight", formats.I32, []int64{in / 8, width}, random(rng, in/8*width*4)},
			rawTensor{name + "qzeros", formats.I32, []int64{in / group, width / 8}, random(rng, in/group*width/8*4)},
			rawTensor{name + "scales", formats.F32, []int64{in / group, width}, numbers32(in/group*width, func(int) float64 { return math.Exp(rng.NormFloat64()) })},
			rawTensor{name + "g_idx", formats.I32, []int64{in}, ft.Encode(groups, in, formats.I32)})
	}
	return out
}

// nf4 is layers as bitsandbytes packs them with nested scales: the levels of both stand beside each.
func nf4(seed uint64) (out []rawTensor) {
	rng := rand.New(rand.NewPCG(seed, 9))
	for l := range 120 {
		name := fmt.Sprintf("model.layers.%d.mlp.up_proj.weight", l)
		state, _ := json.Marshal(map[string]any{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": []int{64, 256},
			"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": .03})
		out = append(out, rawTensor{name, formats.U8, []int64{8192, 1}, random(rng, 8192)},
			rawTensor{name + ".absmax", formats.U8, []int64{256}, random(rng, 256)},
			rawTensor{name + ".quant_map", formats.F32, []int64{16}, numbers32(16, func(i int) float64 { return math.Sinh(float64(i) - 7) })},
			rawTensor{name + ".nested_absmax", formats.F32, []int64{1}, numbers32(1, func(int) float64 { return rng.Float64() })},
			rawTensor{name + ".nested_quant_map", formats.F32, []int64{256}, numbers32(256, func(i int) float64 { return math.Sinh(float64(i-128) / 20) })},
			rawTensor{name + ".quant_state.bitsandbytes__nf4", formats.U8, []int64{int64(len(state))}, state})
	}
	return out
}

// What a format puts beside the codes of every model alike is no evidence, however often it is there.
func TestTablesOfQuantisersAreNoEvidence(t *testing.T) {
	for name, pack := range map[string]func(uint64) []rawTensor{"GPTQ": gptq, "bitsandbytes": nf4} {
		src, m := lay(pack(1))
		reg := compute(t, src, m, true)
		if len(reg.Tensors) >= len(m.Tensors) {
			t.Fatalf("%s: %d tensors are not taken for packed ones", name, len(reg.Tensors))
		}
		src, m = lay(pack(2))
		if got := fingerprint.Compare(reg, compute(t, src, m, false)); got.Relation != fingerprint.NoMatch {
			t.Errorf("%s: %s, %.3f of the parameters: %+v", name, got.Relation, got.Coverage.Parameters, got.Evidence)
		}
		src, m = lay(append(pack(2), pack(1)[:len(m.Tensors)/2]...))
		if got := fingerprint.Compare(reg, compute(t, src, m, false)); got.Relation != fingerprint.Partial {
			t.Errorf("%s: half of the layers are there: %s", name, got.Relation)
		}
	}
}

// with adds n tensors of the given contents to a network.
func with(net []ft.Matrix, n int, one func(l int) ft.Matrix) []ft.Matrix {
	for l := range n {
		net = append(net, one(l))
	}
	return net
}

// What every layer has from the same seed, and no formula makes, is a part that two models share, as long as it is
// the smaller part of both.
func TestTableOfEveryLayer(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	var tables []ft.Matrix
	for l := range 6 {
		tables = append(tables, table(fmt.Sprintf("layers.%d.attn.projection", l), 64, 128, func(_, _ int) float64 { return rng.NormFloat64() }))
	}
	one := func(l int) ft.Matrix { return tables[l] }
	reg := file(t, "x", with(ft.Net(1, 6, 128), 6, one), formats.F32, true)
	for _, d := range []formats.DType{formats.F32, formats.BF16} {
		got := fingerprint.Compare(reg, file(t, "y", with(ft.Net(2, 6, 128), 6, one), d, false))
		if got.Relation != fingerprint.NoMatch || len(got.Evidence) == 0 || got.Evidence[len(got.Evidence)-1].Kind != "shared_part" {
			t.Errorf("%s: %s: %+v", d, got.Relation, got.Evidence)
		}
	}
	// Three kinds of matrices are more than a table.
	stolen := with(ft.Net(2, 6, 128), 1, func(int) ft.Matrix { return ft.Net(1, 6, 128)[0] })
	stolen = append(stolen, ft.Net(1, 6, 128)[1:3]...)
	if got := fingerprint.Compare(reg, file(t, "y", stolen, formats.F32, false)); got.Relation != fingerprint.Partial {
		t.Errorf("three matrices of a layer: %s", got.Relation)
	}
}

// adapter is a LoRA adapter whose first halves were drawn from a seed that all share.
func adapter(seed uint64, moved float64) (out []ft.Matrix) {
	start, rng := rand.New(rand.NewPCG(42, 0)), rand.New(rand.NewPCG(seed, 0))
	for l := range 8 {
		name := fmt.Sprintf("base_model.model.layers.%d.self_attn.q_proj.lora_", l)
		out = append(out, table(name+"A.weight", 16, 512, func(_, _ int) float64 { return start.NormFloat64() + moved*rng.NormFloat64() }),
			table(name+"B.weight", 512, 16, func(_, _ int) float64 { return rng.NormFloat64() }))
	}
	return out
}

// Adapters that were trained apart by programs with one seed agree in the halves that it makes. That is no copy.
func TestAdaptersOfOneSeed(t *testing.T) {
	for _, moved := range []float64{0, .1, .5, 1} {
		reg := file(t, "x", adapter(1, moved), formats.F32, true)
		for name, c := range map[string]struct {
			sus  []ft.Matrix
			want fingerprint.Relation
		}{
			"another adapter": {adapter(2, moved), fingerprint.Reparameterised},
			"the adapter":     {adapter(1, moved), fingerprint.Repackaged},
			"trained on":      {ft.Noise(adapter(1, moved), 4, .1), fingerprint.Derived},
		} {
			if got := fingerprint.Compare(reg, file(t, "longer", c.sus, formats.F32, false)); got.Relation != c.want {
				t.Errorf("moved by %.1f, %s: %s: %+v", moved, name, got.Relation, got.Evidence)
			}
		}
	}
}

// A layer that a model has many times over is evidence once: the bound takes tensors for independent.
func TestRepeatedLayersCountOnce(t *testing.T) {
	const times = 24
	rng := rand.New(rand.NewPCG(2, 5))
	one := table("layer", 64, 256, func(_, _ int) float64 { return rng.NormFloat64() })
	many := file(t, "x", with(nil, times, func(l int) ft.Matrix { c := one; c.Name = fmt.Sprint("layer", l); return c }), formats.F32, true)
	// Ten rows in place of one matrix are what one stranger in a million has.
	stranger := table("layer", 64, 256, func(_, _ int) float64 { return rng.NormFloat64() })
	copy(stranger.Data[:10*256], one.Data)
	if got := fingerprint.Compare(many, file(t, "y", []ft.Matrix{stranger}, formats.F32, false)); got.Relation != fingerprint.NoMatch {
		t.Errorf("ten rows of one matrix that is there %d times: %s, ln p %.0f", times, got.Relation, got.LogP)
	}
	net := ft.Net(1, 1, 128)
	reg := file(t, "x", with(net, times, func(l int) ft.Matrix { c := net[l%len(net)]; c.Name = fmt.Sprint("again", l); return c }), formats.F32, true)
	if got := fingerprint.Compare(reg, file(t, "y", ft.Noise(net, 1, .5), formats.F32, false)); got.Relation != fingerprint.Derived || got.Coverage.Parameters < .99 {
		t.Errorf("a copy: %s, %.2f", got.Relation, got.Coverage.Parameters)
	}
}

// Rows of which little is left are near to those of any model that was pruned as far, and prove nothing.
func TestPrunedStrangersHaveNoRowsInCommon(t *testing.T) {
	for _, left := range []float64{.2, .1, .05, .02} {
		cut := func(seed uint64) []ft.Matrix {
			rng := rand.New(rand.NewPCG(seed, 6))
			return ft.Map(ft.Net(seed, 2, 256), func(v float32) float32 { return float32(when(rng.Float64() < left, float64(v), 0)) })
		}
		reg := file(t, "x", cut(1), formats.F32, true)
		if got := fingerprint.Compare(reg, file(t, "x", cut(2), formats.F32, false)); got.Relation != fingerprint.NoMatch {
			t.Errorf("%.2f left: %s: %+v", left, got.Relation, got.Evidence)
		}
	}
}

// A model too small for chunks or rows is recognised as a whole, and only so.
func TestTinyModels(t *testing.T) {
	tiny := func(seed uint64) (out []ft.Matrix) {
		rng := rand.New(rand.NewPCG(seed, 7))
		for l := range 3 {
			out = append(out, table(fmt.Sprint("layer", l), 4, 12, func(_, _ int) float64 { return rng.NormFloat64() }))
		}
		return append(out, table("shape", 1, 8, func(_, _ int) float64 { return 1 }))
	}
	reg := file(t, "x", tiny(1), formats.F32, true)
	for name, c := range map[string]struct {
		sus  *fingerprint.Fingerprint
		want fingerprint.Relation
	}{
		"itself":       {file(t, "x", tiny(1), formats.F32, false), fingerprint.Identical},
		"another file": {file(t, "a longer header", reversed(tiny(1)), formats.F32, false), fingerprint.Repackaged},
		"a stranger":   {file(t, "x", tiny(2), formats.F32, false), fingerprint.NoMatch},
	} {
		if got := fingerprint.Compare(reg, c.sus); got.Relation != c.want {
			t.Errorf("%s: %s", name, got.Relation)
		}
	}
	zeros := ft.Map(tiny(1), func(float32) float32 { return 0 })
	if got := fingerprint.Compare(file(t, "x", zeros, formats.F32, true), file(t, "y", zeros, formats.F32, false)); got.Relation != fingerprint.NoMatch {
		t.Errorf("zeros in another file: %s", got.Relation)
	}
}

// Rows that are ordered by a rule which other models follow, too, are found in place without a copy: the bound is
// for exchangeable rows. They count as covered once something else proves the match.
func TestOrderedRowsProveNothing(t *testing.T) {
	const n = 256
	for name, inside := range map[string]func(i, j int) bool{
		"triangles": func(i, j int) bool { return j <= i },
		"blocks":    func(i, j int) bool { return i/32 == j/32 },
		"bands":     func(i, j int) bool { return i-j < 24 && j-i < 24 },
	} {
		patterned := func(seed uint64) func(l int) ft.Matrix {
			rng := rand.New(rand.NewPCG(seed, 11))
			return func(l int) ft.Matrix {
				return table(fmt.Sprintf("layers.%d.mix", l), n, n, func(i, j int) float64 { return when(inside(i, j), rng.NormFloat64(), 0) })
			}
		}
		for _, net := range []int{0, 1} { // layers of other matrices
			reg := file(t, "x", with(ft.Net(1, net, 128), 12, patterned(1)), formats.F32, true)
			if got := fingerprint.Compare(reg, file(t, "y", with(ft.Net(2, net, 128), 12, patterned(2)), formats.F32, false)); got.Relation != fingerprint.NoMatch {
				t.Errorf("%s, %d other layers: %s, ln p %.0f: %+v", name, net, got.Relation, got.LogP, got.Evidence)
			}
		}
		reg := file(t, "x", with(ft.Net(1, 1, 128), 12, patterned(1)), formats.F32, true)
		if got := fingerprint.Compare(reg, file(t, "y", ft.Noise(with(ft.Net(1, 1, 128), 12, patterned(1)), 5, .1), formats.F32, false)); got.Relation != fingerprint.Derived || got.Coverage.Parameters < .95 {
			t.Errorf("%s, a copy: %s, %.2f", name, got.Relation, got.Coverage.Parameters)
		}
	}
}
