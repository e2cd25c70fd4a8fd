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

func TestMixtureOfThree(t *testing.T) {
	nets := [][]ft.Matrix{ft.Net(1, 4, 256), ft.Net(2, 4, 256), ft.Net(3, 4, 256), ft.Net(4, 4, 256)}
	names := []string{"a", "b", "c", "d"}
	db := index.New()
	for i, n := range nets {
		add(t, db, names[i], "1", "protected", file(t, n, formats.F32, true))
	}
	add(t, db, "sibling of a", "1", "protected", file(t, ft.Noise(nets[0], 21, 0.04), formats.F32, true))
	for _, c := range []struct {
		name    string
		suspect []ft.Matrix
		d       formats.DType
		weights map[string]float64
	}{
		{"three", ft.Mix(ft.Mix(nets[0], nets[1], .5, .3), nets[2], 1, .2), formats.BF16, map[string]float64{"a@1": .5, "b@1": .3, "c@1": .2}},
		{"three in eight bits", ft.Mix(ft.Mix(nets[0], nets[1], .4, .3), nets[3], 1, .3), formats.Q8_0, map[string]float64{"a@1": .4, "b@1": .3, "d@1": .3}},
		{"a child with siblings", ft.Noise(nets[0], 22, 0.05), formats.BF16, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := match(t, db, file(t, c.suspect, c.d, false))
			if len(got) == 0 {
				t.Fatal("no match")
			}
			found := map[string]float64{}
			for _, e := range got[0].Evidence {
				if e.Kind == "merge" {
					found[e.Model] = e.Value
				}
			}
			if len(found) != len(c.weights) || (got[0].Relation == fingerprint.Merged) != (len(c.weights) > 0) {
				t.Fatalf("%s of %s, parts %v, want %v", got[0].Relation, got[0].Model, found, c.weights)
			}
			for name, want := range c.weights {
				if math.Abs(found[name]-want) > .04 {
					t.Errorf("%s: weight %.3f, want %.2f", name, found[name], want)
				}
			}
		})
	}
}

// Children of a public base that moved in part only: the last layer, some of the
// matrices, a layer of their own. Another child of the same kind is never taken for
// ours, nor is the base, tuned by somebody else or not.
func TestChildrenThatMovedInPart(t *testing.T) {
	base := ft.Net(1, 4, 256)
	moved := func(seed uint64, share float64, which func(i int) bool) []ft.Matrix {
		noisy, out := ft.Noise(base, seed, share), joined(base)
		for i := range out {
			if which(i) {
				out[i] = noisy[i]
			}
		}
		return out
	}
	for name, child := range map[string]func(seed uint64) []ft.Matrix{
		"the last layer": func(s uint64) []ft.Matrix { return moved(s, .05, func(i int) bool { return i >= 21 }) },
		"q and v":        func(s uint64) []ft.Matrix { return moved(s, .02, func(i int) bool { return i%7 == 0 || i%7 == 2 }) },
		"a new layer":    func(s uint64) []ft.Matrix { return joined(base[:21], ft.Net(s, 1, 256)) },
	} {
		db, ours := index.New(), child(11)
		add(t, db, "base", "1", "public", file(t, base, formats.BF16, true))
		add(t, db, "ours", "1", "protected", file(t, ours, formats.BF16, true))
		for _, c := range []struct {
			what  string
			ms    []ft.Matrix
			model string
		}{
			{"ours", ours, "ours"}, {"ours, tuned", ft.Noise(ours, 77, .01), "ours"}, {"the last layer of ours", ours[21:], "ours"}, {"another child", child(12), "base"},
			{"the base", base, "base"}, {"the base, tuned", ft.Noise(base, 78, .05), "base"},
		} {
			got := match(t, db, file(t, c.ms, formats.Q4_0, false))
			if len(got) == 0 || got[0].Model != c.model {
				t.Errorf("%s moved: %s is not said to be of %s: %+v", name, c.what, c.model, got)
			}
		}
	}
}
