package deep_test

import (
	"context"
	"testing"

	"weightwarden/fingerprint/deep"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/formats"
)

func TestProof(t *testing.T) {
	net := ft.Related(ft.Net(1, 4, 128), 1)
	_, reg := ft.File("h", net, formats.F32)
	for _, c := range []struct {
		name   string
		ms     []ft.Matrix
		d      formats.DType
		proved bool
		kind   string
	}{
		{"the same", net, formats.F32, true, "none"},
		{"disguised", ft.Disguise(net, 1), formats.F32, true, "rotation"},
		{"disguised q8", ft.Disguise(net, 2), formats.Q8_0, true, "rotation"},
		{"disguised q4", ft.Disguise(net, 3), formats.Q4_0, true, "rotation"},
		{"disguised, negated", ft.Disguise(ft.Negate(net), 5), formats.F32, true, "rotation"},
		{"disguised, negated, q4", ft.Disguise(ft.Negate(net), 6), formats.Q4_0, true, "rotation"},
		{"independent, negated", ft.Disguise(ft.Negate(ft.Related(ft.Net(4, 4, 128), 4)), 4), formats.F32, false, ""},
		{"independent", ft.Related(ft.Net(2, 4, 128), 2), formats.F32, false, ""},
		{"independent, disguised", ft.Disguise(ft.Related(ft.Net(3, 4, 128), 3), 4), formats.F32, false, ""},
	} {
		_, sus := ft.File("x", c.ms, c.d)
		got, err := deep.Compare(context.Background(), reg, sus)
		if err != nil {
			t.Fatal(err)
		}
		if got.Proved != c.proved || c.kind != "" && got.Kind != c.kind {
			t.Errorf("%s: proved %v, %s, %d of %d rows, ln p %.1f, %d neurons, fit %.3f", c.name, got.Proved, got.Kind, got.Hits, got.Tested, got.LogP, got.Neurons, got.Fit)
		}
	}
}

func TestNoBlocks(t *testing.T) {
	_, m := ft.File("h", ft.Net(1, 1, 64)[:4], formats.F32)
	if r, err := deep.Compare(context.Background(), m, m); err == nil || r != nil {
		t.Errorf("attention alone gave %v, %v", r, err)
	}
}
