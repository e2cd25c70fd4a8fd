package invariant_test

import (
	"context"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/fingerprint/invariant"
	"weightwarden/formats"
	"weightwarden/formats/quant"
)

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
	net := ft.Related(ft.Net(1, 4, 128), 1)
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
		{"disguised", ft.Disguise(net, 1), formats.F32, fingerprint.Reparameterised},
		{"disguised q8", ft.Disguise(net, 2), formats.Q8_0, fingerprint.Reparameterised},
		{"disguised q4", ft.Disguise(net, 3), formats.Q4_0, fingerprint.Reparameterised},
		{"disguised, negated", ft.Disguise(ft.Negate(net), 5), formats.F32, fingerprint.Reparameterised},
		{"disguised, negated, q4", ft.Disguise(ft.Negate(net), 6), formats.Q4_0, fingerprint.Reparameterised},
		{"independent", ft.Related(ft.Net(2, 4, 128), 2), formats.F32, fingerprint.NoMatch},
		{"independent, negated", ft.Disguise(ft.Negate(ft.Related(ft.Net(4, 4, 128), 2)), 7), formats.F32, fingerprint.NoMatch},
		{"independent, disguised", ft.Disguise(ft.Related(ft.Net(3, 4, 128), 3), 4), formats.F32, fingerprint.NoMatch},
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
