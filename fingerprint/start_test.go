package fingerprint_test

import (
	"slices"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/formats"
)

// trained moves every matrix from a start, the later ones further.
func trained(start []ft.Matrix, seed uint64) (out []ft.Matrix) {
	for i := range start {
		out = append(out, ft.Noise(start[i:i+1], seed+uint64(i), .2+2.2*float64(i)/float64(len(start)))...)
	}
	return out
}

// Two models that were trained apart from one random start are not called copies of each
// other, and a copy that was changed evenly is, however much.
func TestCommonRandomStart(t *testing.T) {
	start := ft.Net(1, 3, 256)
	ours := trained(start, 100)
	reg := file(t, "x", ours, formats.F32, true)
	for _, c := range []struct {
		name   string
		sus    []ft.Matrix
		want   fingerprint.Relation
		uneven bool
	}{
		{"the other one", trained(start, 200), fingerprint.Reparameterised, true},
		{"a part of the other one", trained(start, 200)[3:14], fingerprint.Reparameterised, true},
		{"the start", start, fingerprint.Reparameterised, true},
		{"a copy trained on", ft.Noise(ours, 3, .2), fingerprint.Derived, false},
		{"a copy with much noise", ft.Noise(ours, 4, 1), fingerprint.Derived, false},
		{"a copy with some layers trained far", append(slices.Clone(ours[:14]), trained(ours[14:], 300)...), fingerprint.Derived, false},
	} {
		got := fingerprint.Compare(reg, file(t, "x", c.sus, formats.F32, false))
		uneven := slices.ContainsFunc(got.Evidence, func(e fingerprint.Evidence) bool { return e.Kind == fingerprint.Uneven })
		if got.Relation != c.want || uneven != c.uneven {
			t.Errorf("%s: %s, uneven %v: %+v", c.name, got.Relation, uneven, got.Evidence)
		}
	}
}
