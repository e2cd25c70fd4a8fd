package index_test

import (
	"math"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/fingerprint/index"
	"weightwarden/formats"
)

// TestPublicBase registers a public base and a protected child that moved by
// 3 % of the norm, and judges what others made of both.
func TestPublicBase(t *testing.T) {
	base := ft.Net(1, 4, 256)
	child := ft.Noise(base, 11, 0.03)
	sibling := ft.Noise(base, 12, 0.05)
	stranger := ft.Net(2, 4, 256)
	db := index.New()
	add(t, db, "llama", "1", "public", file(t, base, formats.BF16, true))
	add(t, db, "aurora", "3", "protected", file(t, child, formats.BF16, true))
	add(t, db, "other", "1", "protected", file(t, stranger, formats.BF16, true))
	for _, c := range []struct {
		name  string
		ms    []ft.Matrix
		d     formats.DType
		model string
		want  fingerprint.Relation
	}{
		{"base", base, formats.BF16, "llama", fingerprint.Identical},
		{"base f32", base, formats.F32, "llama", fingerprint.Cast},
		{"base q8", base, formats.Q8_0, "llama", fingerprint.Quantised},
		{"base q4", base, formats.Q4_0, "llama", fingerprint.Quantised},
		{"child q8", child, formats.Q8_0, "aurora", fingerprint.Quantised},
		{"child q4", child, formats.Q4_0, "aurora", fingerprint.Quantised},
		{"grandchild", ft.Noise(child, 13, 0.02), formats.F32, "aurora", fingerprint.Derived},
		{"sibling", sibling, formats.F32, "llama", fingerprint.Derived},
		// Moved by 5 % and quantised: which of the two words is the noise of chance.
		{"sibling q4", sibling, formats.Q4_0, "llama", ""},
		{"half of base and child", ft.Mix(base, child, .5, .5), formats.F32, "aurora", fingerprint.Merged},
		{"merge with the stranger", ft.Mix(child, stranger, .6, .4), formats.F32, "aurora", fingerprint.Merged},
	} {
		got := match(t, db, file(t, c.ms, c.d, false))
		if len(got) == 0 {
			t.Errorf("%s: no match", c.name)
			continue
		}
		if got[0].Model != c.model || c.want != "" && got[0].Relation != c.want {
			t.Errorf("%s: %s of %s, want %s of %s", c.name, got[0].Relation, got[0].Model, c.want, c.model)
			for _, m := range got {
				t.Log(m.Model, m.Relation, m.Coverage.Parameters)
				for _, e := range m.Evidence {
					t.Log("   ", e.Text)
				}
			}
		}
	}
}

func TestMixtureWeights(t *testing.T) {
	a, b := ft.Net(1, 4, 256), ft.Net(2, 4, 256)
	db := index.New()
	add(t, db, "a", "1", "protected", file(t, a, formats.F32, true))
	add(t, db, "b", "1", "protected", file(t, b, formats.F32, true))
	got := match(t, db, file(t, ft.Mix(a, b, .7, .3), formats.Q8_0, false))
	if len(got) != 2 || got[0].Model != "a" || got[0].Relation != fingerprint.Merged {
		t.Fatalf("%+v", got)
	}
	for _, e := range got[0].Evidence {
		if e.Kind == "merge" && e.Model == "a@1" && math.Abs(e.Value-.7) > .03 {
			t.Errorf("weight %.3f, want .70", e.Value)
		}
	}
}
