package fingerprint_test

import (
	"context"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/formats"
)

func compute(t testing.TB, src formats.Source, m *formats.Model, register bool) *fingerprint.Fingerprint {
	t.Helper()
	fp, err := fingerprint.Compute(context.Background(), src, m, fingerprint.Options{Register: register})
	if err != nil {
		t.Fatal(err)
	}
	return fp
}

func file(t testing.TB, header string, ms []ft.Matrix, d formats.DType, register bool) *fingerprint.Fingerprint {
	t.Helper()
	src, m := ft.File(header, ms, d)
	return compute(t, src, m, register)
}

func TestRelations(t *testing.T) {
	net := ft.Net(1, 3, 256)
	other := ft.Net(2, 3, 256)
	reg := file(t, "header one", net, formats.F32, true)
	cases := []struct {
		name  string
		sus   *fingerprint.Fingerprint
		want  fingerprint.Relation
		least float64 // coverage of parameters
	}{
		{"same file", file(t, "header one", net, formats.F32, false), fingerprint.Identical, 1},
		{"other header", file(t, "another, longer header", net, formats.F32, false), fingerprint.Repackaged, 1},
		{"other order", file(t, "x", reversed(net), formats.F32, false), fingerprint.Repackaged, 1},
		{"bf16", file(t, "x", net, formats.BF16, false), fingerprint.Cast, 0.99},
		{"q8", file(t, "x", net, formats.Q8_0, false), fingerprint.Quantised, 0.99},
		{"q4", file(t, "x", net, formats.Q4_0, false), fingerprint.Quantised, 0.99},
		{"child 5 %", file(t, "x", ft.Noise(net, 5, 0.05), formats.F32, false), fingerprint.Derived, 0.99},
		{"child 20 %, q4", file(t, "x", ft.Noise(net, 6, 0.2), formats.Q4_0, false), fingerprint.Derived, 0.99},
		{"noise 100 %", file(t, "x", ft.Noise(net, 7, 1), formats.F32, false), fingerprint.Derived, 0.9},
		{"transposed", file(t, "x", ft.Transpose(net), formats.F32, false), fingerprint.Reparameterised, 0.99},
		{"negated", file(t, "x", ft.Map(net, func(v float32) float32 { return -v }), formats.F32, false), fingerprint.Reparameterised, 0.99},
		{"negated, transposed, q4", file(t, "x", ft.Transpose(ft.Map(net, func(v float32) float32 { return -v })), formats.Q4_0, false), fingerprint.Reparameterised, 0.99},
		{"another, negated", file(t, "x", ft.Map(other, func(v float32) float32 { return -v }), formats.F32, false), fingerprint.NoMatch, 0},
		{"rows permuted", file(t, "x", ft.ShuffleRows(net, 8), formats.F32, false), fingerprint.Reparameterised, 0.9},
		{"one layer of three", file(t, "x", net[7:14], formats.F32, false), fingerprint.Partial, 0.3},
		{"merged with a stranger", file(t, "x", ft.Mix(net, other, 0.5, 0.5), formats.F32, false), fingerprint.Derived, 0.9},
		{"independent", file(t, "header one", other, formats.F32, false), fingerprint.NoMatch, 0},
		{"independent q4", file(t, "x", other, formats.Q4_0, false), fingerprint.NoMatch, 0},
		{"independent transposed", file(t, "x", ft.Transpose(other), formats.F32, false), fingerprint.NoMatch, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := fingerprint.Compare(reg, c.sus)
			if got.Relation != c.want || got.Coverage.Parameters < c.least {
				t.Errorf("%s, %.3f of the parameters, ln p %.1f; want %s, %.2f", got.Relation, got.Coverage.Parameters, got.LogP, c.want, c.least)
				for _, e := range got.Evidence {
					t.Log(e.Text)
				}
			}
		})
	}
}

func reversed(ms []ft.Matrix) []ft.Matrix {
	out := make([]ft.Matrix, 0, len(ms))
	for i := len(ms) - 1; i >= 0; i-- {
		out = append(out, ms[i])
	}
	return out
}
