package invariant_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/fingerprint/invariant"
	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// disguise rotates the residual stream by a random orthogonal matrix, reorders
// the neurons and moves scale from up to down: nothing of the original stays in
// place.
func disguise(net []ft.Matrix, seed uint64) []ft.Matrix {
	rng := rand.New(rand.NewPCG(seed, 9))
	d := net[0].Cols
	r := orthogonal(rng, d)
	var out []ft.Matrix
	for l := 0; l+7 <= len(net); l += 7 {
		x := net[l : l+7]
		for _, m := range x[:3] {
			out = append(out, right(m, r))
		}
		out = append(out, left(r, x[3]))
		perm := rng.Perm(x[4].Rows)
		scale := make([]float64, len(perm))
		for i := range scale {
			scale[i] = math.Exp(rng.NormFloat64() * 0.3)
		}
		gate, up, down := right(x[4], r), right(x[5], r), left(r, x[6])
		out = append(out, rows(gate, perm, nil), rows(up, perm, scale), columns(down, perm, scale))
	}
	return out
}

func orthogonal(rng *rand.Rand, d int) [][]float64 {
	q := make([][]float64, d)
	for i := range q {
		q[i] = make([]float64, d)
		for j := range q[i] {
			q[i][j] = rng.NormFloat64()
		}
		for range 2 { // Gram-Schmidt, twice for accuracy
			for k := range i {
				s := 0.0
				for j := range d {
					s += q[i][j] * q[k][j]
				}
				for j := range d {
					q[i][j] -= s * q[k][j]
				}
			}
		}
		n := 0.0
		for _, v := range q[i] {
			n += v * v
		}
		for j := range d {
			q[i][j] /= math.Sqrt(n)
		}
	}
	return q
}

// right multiplies the rows of m by r.
func right(m ft.Matrix, r [][]float64) ft.Matrix {
	out := ft.Matrix{Name: m.Name, Rows: m.Rows, Cols: m.Cols, Data: make([]float32, len(m.Data))}
	for i := range m.Rows {
		acc := make([]float64, m.Cols)
		for k := range m.Cols {
			v := float64(m.Data[i*m.Cols+k])
			for j := range m.Cols {
				acc[j] += v * r[k][j]
			}
		}
		for j, v := range acc {
			out.Data[i*m.Cols+j] = float32(v)
		}
	}
	return out
}

// left multiplies the columns of m by r transposed.
func left(r [][]float64, m ft.Matrix) ft.Matrix {
	t := ft.Transpose([]ft.Matrix{m})[0]
	return ft.Transpose([]ft.Matrix{right(t, r)})[0]
}

func rows(m ft.Matrix, perm []int, scale []float64) ft.Matrix {
	out := ft.Matrix{Name: m.Name, Rows: m.Rows, Cols: m.Cols, Data: make([]float32, len(m.Data))}
	for i, p := range perm {
		s := 1.0
		if scale != nil {
			s = scale[i]
		}
		for j := range m.Cols {
			out.Data[i*m.Cols+j] = float32(s) * m.Data[p*m.Cols+j]
		}
	}
	return out
}

func columns(m ft.Matrix, perm []int, scale []float64) ft.Matrix {
	inverse := make([]float64, len(scale))
	for i, s := range scale {
		inverse[i] = 1 / s
	}
	return ft.Transpose([]ft.Matrix{rows(ft.Transpose([]ft.Matrix{m})[0], perm, inverse)})[0]
}

func layers(t *testing.T, ms []ft.Matrix, d formats.DType) *fingerprint.Fingerprint {
	t.Helper()
	src, m := ft.File("h", ms, d)
	fp, err := fingerprint.Compute(context.Background(), src, m, fingerprint.Options{Register: true})
	if err != nil {
		t.Fatal(err)
	}
	return fp
}

// TestDisguised needs the traits of trained nets: neurons whose input and output
// weights are related, each in its own way.
func TestDisguised(t *testing.T) {
	net := related(ft.Net(1, 4, 128), 1)
	reg := layers(t, net, formats.F32)
	if len(reg.Layers) != 4 {
		t.Fatalf("%d blocks found of 4", len(reg.Layers))
	}
	for _, c := range []struct {
		name string
		ms   []ft.Matrix
		d    formats.DType
		want fingerprint.Relation
	}{
		{"disguised", disguise(net, 1), formats.F32, fingerprint.Reparameterised},
		{"disguised q8", disguise(net, 2), formats.Q8_0, fingerprint.Reparameterised},
		{"disguised q4", disguise(net, 3), formats.Q4_0, fingerprint.Reparameterised},
		{"independent", related(ft.Net(2, 4, 128), 2), formats.F32, fingerprint.NoMatch},
		{"independent, disguised", disguise(related(ft.Net(3, 4, 128), 3), 4), formats.F32, fingerprint.NoMatch},
	} {
		sus := layers(t, c.ms, c.d)
		got := fingerprint.CompareInvariants(reg, sus)
		t.Log(c.name, got.Evidence[0].Text)
		if got.Relation != c.want {
			t.Errorf("%s: %s", c.name, got.Relation)
		}
		if row := fingerprint.Compare(reg, sus); row.Relation != fingerprint.NoMatch {
			t.Errorf("%s: the aligned layers see through the disguise (%s): it is none", c.name, row.Relation)
		}
	}
}

// related mixes gate into up and down, differently for every neuron.
func related(net []ft.Matrix, seed uint64) []ft.Matrix {
	rng := rand.New(rand.NewPCG(seed, 10))
	for l := 0; l+7 <= len(net); l += 7 {
		gate, up, down := net[l+4], net[l+5], net[l+6]
		for i := range gate.Rows {
			a, b := rng.NormFloat64()*0.2, rng.NormFloat64()*0.2
			for j := range gate.Cols {
				g := float64(gate.Data[i*gate.Cols+j])
				up.Data[i*up.Cols+j] += float32(a * g)
				down.Data[j*down.Cols+i] += float32(b * g)
			}
		}
	}
	return net
}

func TestFindTransposedAndFused(t *testing.T) {
	net := ft.Net(1, 3, 128)
	_, m := ft.File("h", ft.Transpose(net), formats.F32)
	got := invariant.Find(quant.Views(m))
	if len(got) != 3 || !got[0].Transposed {
		t.Errorf("transposed: %+v", got)
	}
	var fused []ft.Matrix
	for l := 0; l+7 <= len(net); l += 7 {
		fused = append(fused, ft.Fuse("gate_up", net[l+4], net[l+5]), net[l+6])
	}
	src, m := ft.File("h", fused, formats.F32)
	got = invariant.Find(quant.Views(m))
	if len(got) != 3 || !got[0].Fused {
		t.Errorf("fused: %+v", got)
	}
	fp, err := fingerprint.Compute(context.Background(), src, m, fingerprint.Options{Register: true})
	if err != nil {
		t.Fatal(err)
	}
	if c := fingerprint.CompareInvariants(layers(t, net, formats.F32), fp); c.Evidence[0].Value < 500 {
		t.Errorf("fused copy: %s", c.Evidence[0].Text)
	}
}
