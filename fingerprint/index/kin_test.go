package index_test

import (
	"math"
	"slices"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/fingerprint/index"
	"weightwarden/formats"
)

// TestSameDataSameBase: who trains the same public model on the same data gets much of what ours got, in shares
// that differ from tensor to tensor. That is for a person to look at. What is done to ours without training is
// ours, however little of it is left beside something else.
func TestSameDataSameBase(t *testing.T) {
	base, stranger := ft.Net(1, 4, 256), ft.Net(2, 4, 256)
	learned := ft.Mix(ft.Noise(base, 11, .05), base, 1, -1)
	trained := func(from []ft.Matrix, seed uint64, share float64) []ft.Matrix {
		out := ft.Noise(from, seed, .03)
		for i := range out {
			w := share * (1 + .12*math.Sin(float64(seed)*float64(i+1)))
			out[i] = ft.Mix(out[i:i+1], learned[i:i+1], 1, float32(w))[0]
		}
		return out
	}
	ours := trained(base, 21, 1)
	db := index.New()
	add(t, db, "base", "1", "public", file(t, base, formats.BF16, true))
	add(t, db, "ours", "1", "protected", file(t, ours, formats.BF16, true))
	for _, c := range []struct {
		name string
		ms   []ft.Matrix
		d    formats.DType
		want fingerprint.Relation
		kin  bool
	}{
		{"the same data", trained(base, 22, 1), formats.BF16, fingerprint.Reparameterised, true},
		{"more of the same data", trained(base, 23, 1.4), formats.BF16, fingerprint.Reparameterised, true},
		{"less of the same data", trained(base, 24, .6), formats.Q8_0, fingerprint.Reparameterised, true},
		{"ours trained on, evenly", trained(ours, 25, .2), formats.BF16, fingerprint.Derived, false},
		{"ours in eight bits", ours, formats.Q8_0, fingerprint.Quantised, false},
		{"ours in four bits", ours, formats.Q4_0, fingerprint.Quantised, false},
		{"ours with noise", ft.Noise(ours, 26, .1), formats.BF16, fingerprint.Derived, false},
		{"half of ours, half of the base", ft.Mix(ours, base, .5, .5), formats.BF16, fingerprint.Merged, false},
		{"ours and a stranger", ft.Mix(ours, stranger, .6, .4), formats.BF16, fingerprint.Reparameterised, true},
	} {
		got := match(t, db, file(t, c.ms, c.d, false))
		if len(got) == 0 || got[0].Model != "ours" || got[0].Relation != c.want ||
			slices.ContainsFunc(got[0].Evidence, func(e fingerprint.Evidence) bool { return e.Kind == fingerprint.Kin }) != c.kin {
			t.Errorf("%s, want %s: %+v", c.name, c.want, got)
		}
	}
	for name, ms := range map[string][]ft.Matrix{"other data": ft.Noise(base, 31, .05), "much other data": ft.Noise(base, 32, .2), "the base and a stranger": ft.Mix(base, stranger, .7, .3)} {
		if got := match(t, db, file(t, ms, formats.BF16, false)); len(got) == 0 || got[0].Model != "base" {
			t.Errorf("%s: not said to be of the base: %+v", name, got)
		}
	}
}

// TestPublicBaseInOtherForms: where sums cannot be subtracted, sampled rows tell the public base from its child.
func TestPublicBaseInOtherForms(t *testing.T) {
	base := ft.Net(1, 4, 256)
	child := ft.Noise(base, 11, .05)
	db := index.New()
	add(t, db, "base", "1", "public", file(t, base, formats.BF16, true))
	add(t, db, "child", "1", "protected", file(t, child, formats.BF16, true))
	each := func(f func(m ft.Matrix) ft.Matrix) func([]ft.Matrix) []ft.Matrix {
		return func(net []ft.Matrix) (out []ft.Matrix) {
			for _, m := range net {
				out = append(out, f(m))
			}
			return out
		}
	}
	for name, form := range map[string]func([]ft.Matrix) []ft.Matrix{
		"as it is":       func(net []ft.Matrix) []ft.Matrix { return net },
		"transposed":     ft.Transpose,
		"negated":        func(net []ft.Matrix) []ft.Matrix { return ft.Map(net, func(v float32) float32 { return -v }) },
		"rows reordered": func(net []ft.Matrix) []ft.Matrix { return ft.ShuffleRows(net, 5) },
		"the upper half": each(func(m ft.Matrix) ft.Matrix { return ft.RowsOf(m, 0, m.Rows/2) }),
		"the lower half": each(func(m ft.Matrix) ft.Matrix { return ft.RowsOf(m, m.Rows/2, m.Rows) }),
		"together":       func(net []ft.Matrix) []ft.Matrix { return []ft.Matrix{ft.Fuse("qkvo", net[:4]...), net[4], net[6]} },
		"one flat tensor": func(net []ft.Matrix) []ft.Matrix {
			all := ft.Fuse("flat", net[:4]...)
			all.Rows, all.Cols = 1, all.Rows*all.Cols
			return []ft.Matrix{all}
		},
	} {
		for what, ms := range map[string][]ft.Matrix{"base": base, "child": child} {
			for _, quick := range []bool{false, true} {
				opt := fingerprint.Options{Quick: quick}
				src, m := ft.File("header", form(ms), formats.F32)
				fp, err := fingerprint.Compute(t.Context(), src, m, opt)
				if err != nil {
					t.Fatal(err)
				}
				got, err := db.MatchFile(t.Context(), fp, m, opt)
				if err != nil {
					t.Fatal(err)
				}
				if len(got) == 0 && quick && name != "as it is" {
					continue // a quick look sees no columns, no large rows and no other places
				}
				if len(got) == 0 || got[0].Model != what {
					t.Errorf("%s of the %s, quick %v: %+v", name, what, quick, got)
				}
			}
		}
	}
}

// TestDisguisedBase: a public base whose inner coordinates were turned is the base, and not a child that hardly moved.
func TestDisguisedBase(t *testing.T) {
	base := ft.Related(ft.Net(1, 4, 128), 1)
	db := index.New()
	add(t, db, "child", "1", "protected", file(t, ft.Noise(base, 11, .002), formats.F32, true))
	add(t, db, "base", "1", "public", file(t, base, formats.F32, true))
	add(t, db, "second child", "1", "protected", file(t, ft.Noise(base, 12, .002), formats.F32, true))
	for seed := range uint64(4) {
		src, m := ft.File("header", ft.Disguise(base, seed), formats.F32)
		fp, err := fingerprint.Compute(t.Context(), src, m, fingerprint.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := db.MatchFile(t.Context(), fp, m, fingerprint.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 || got[0].Model != "base" {
			t.Errorf("seed %d: %+v", seed, got)
		}
	}
}

// TestMatricesAlone: one matrix in a file is enough to tell base and child, although gates have rows in common with
// the up projections beside them.
func TestMatricesAlone(t *testing.T) {
	base := ft.Related(ft.Net(1, 3, 256), 1)
	child := ft.Noise(base, 11, .05)
	db := index.New()
	add(t, db, "base", "1", "public", file(t, base, formats.BF16, true))
	add(t, db, "child", "1", "protected", file(t, child, formats.BF16, true))
	for what, ms := range map[string][]ft.Matrix{"base": base, "child": child} {
		for i := range ms {
			got := match(t, db, file(t, ms[i:i+1], formats.F32, false))
			if len(got) == 0 || got[0].Model != what || len(got[0].Tensors) != 1 || got[0].Bound == "control-calibrated" {
				t.Errorf("%s of the %s: %+v", ms[i].Name, what, got)
			}
		}
	}
}
