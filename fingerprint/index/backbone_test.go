package index_test

import (
	"testing"

	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/fingerprint/index"
	"weightwarden/formats"
)

func joined(parts ...[]ft.Matrix) []ft.Matrix {
	var out []ft.Matrix
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// A protected model contains two public ones, as models of several senses do. Others
// that contain them are no copies; a copy is one in whatever number format, and so is
// its own part beside other public ones.
func TestPublicParts(t *testing.T) {
	vision, text := ft.Net(100, 2, 128), ft.Net(101, 1, 256)
	own, other := ft.Net(1, 3, 128), ft.Net(2, 3, 128)
	db := index.New()
	add(t, db, "ours", "1", "protected", file(t, joined(own, vision, text), formats.F32, true))
	add(t, db, "vision", "1", "public", file(t, vision, formats.F32, true))
	add(t, db, "text", "1", "public", file(t, text, formats.F32, true))
	for _, c := range []struct {
		name  string
		ms    []ft.Matrix
		model string
	}{
		{"another with both", joined(other, vision, text), ""},
		{"another with one", joined(other, text), ""},
		{"both alone", joined(text, vision), ""},
		{"both tuned", ft.Noise(joined(text, vision), 1, .03), ""},
		{"another with both tuned", joined(other, ft.Noise(joined(text, vision), 1, .03)), ""},
		{"ours", joined(own, vision, text), "ours"},
		{"ours in another order", joined(text, own, vision), "ours"},
		{"ours tuned", ft.Noise(joined(own, vision, text), 2, .05), "ours"},
		{"ours with one", joined(own, vision), "ours"},
		{"our part", own, "ours"},
		{"a layer of ours with both", joined(own[:7], vision, text), "ours"},
	} {
		for _, d := range []formats.DType{formats.F32, formats.BF16, formats.Q4_0} {
			got := ""
			for _, m := range match(t, db, file(t, c.ms, d, false)) {
				if m.Kind == "protected" {
					got = m.Model
				}
			}
			if got != c.model {
				t.Errorf("%s, %s: %q is said to be copied, want %q", c.name, d, got, c.model)
			}
		}
	}
}
