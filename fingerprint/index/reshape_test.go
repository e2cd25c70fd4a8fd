package index_test

import (
	"context"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/fingerprint/index"
	"weightwarden/formats"
)

// lie gives the tensors of a file other shapes or types; the bytes stay.
func lie(m *formats.Model, shape func([]int64) []int64, d formats.DType) {
	for i := range m.Tensors {
		t := &m.Tensors[i]
		t.Shape = shape(t.Shape)
		if d != formats.Unknown {
			_, bits := d.Block()
			n := t.Data.Length * 8 / bits
			t.DType, t.Shape = d, []int64{n / 64, 64}
		}
	}
}

// A header that lies about shapes or number formats hides nothing, and makes no copy of
// a stranger.
func TestHeadersThatLie(t *testing.T) {
	base := ft.Net(1, 3, 256)
	db := index.New()
	add(t, db, "ours", "1", "protected", file(t, base, formats.F32, true))
	add(t, db, "another", "1", "protected", file(t, ft.Net(5, 3, 256), formats.F32, true))
	same := func(s []int64) []int64 { return s }
	for name, c := range map[string]struct {
		shape func(s []int64) []int64
		d     formats.DType
	}{
		"flat":          {func(s []int64) []int64 { return []int64{s[0] * s[1]} }, 0},
		"half as wide":  {func(s []int64) []int64 { return []int64{s[0] * 2, s[1] / 2} }, 0},
		"twice as wide": {func(s []int64) []int64 { return []int64{s[0] / 2, s[1] * 2} }, 0},
		"the other way": {func(s []int64) []int64 { return []int64{s[1], s[0]} }, 0},
		"bytes":         {same, formats.U8},
		"integers":      {same, formats.I32},
		"other halves":  {same, formats.F16},
	} {
		for _, d := range []formats.DType{formats.BF16, formats.Q8_0} {
			if d == formats.Q8_0 && (c.d != 0 || name == "half as wide") {
				continue // packed types have no other reading, and whole blocks in a row
			}
			for seed, want := range map[uint64]string{1: "ours", 9: ""} {
				src, m := ft.File("header", ft.Noise(ft.Net(seed, 3, 256), 3, .05), d)
				lie(m, c.shape, c.d)
				fp, err := fingerprint.Compute(context.Background(), src, m, fingerprint.Options{})
				if err != nil {
					t.Fatal(err)
				}
				got, err := db.MatchFile(context.Background(), fp, m, fingerprint.Options{})
				if err != nil {
					t.Fatal(err)
				}
				model := ""
				if len(got) > 0 {
					model = got[0].Model
				}
				if model != want || model != "" && got[0].Relation != fingerprint.Reparameterised && got[0].Coverage.Parameters < .39 {
					t.Errorf("%s, %s, seed %d: %q, want %q: %+v", name, d, seed, model, want, got)
				}
			}
		}
	}
}

// beside puts matrices of as many rows next to each other.
func beside(name string, ms ...ft.Matrix) ft.Matrix {
	var turned []ft.Matrix
	for _, m := range ft.Transpose(ms) {
		m.Name = name
		turned = append(turned, m)
	}
	return ft.Transpose([]ft.Matrix{ft.Fuse(name, turned...)})[0]
}

// Columns more in front, behind or beside, and a transposition before the file forgot the shape, hide nothing
// and make no copy of a stranger.
func TestWiderTensors(t *testing.T) {
	db := index.New()
	add(t, db, "ours", "1", "protected", file(t, ft.Net(1, 3, 256), formats.F32, true))
	add(t, db, "another", "1", "protected", file(t, ft.Net(5, 3, 256), formats.F32, true))
	pad := func(m ft.Matrix, cols int) ft.Matrix {
		return ft.Matrix{Rows: m.Rows, Cols: cols, Data: make([]float32, m.Rows*cols)}
	}
	each := func(f func(m ft.Matrix) ft.Matrix) func([]ft.Matrix) []ft.Matrix {
		return func(net []ft.Matrix) (out []ft.Matrix) {
			for _, m := range net {
				out = append(out, f(m))
			}
			return out
		}
	}
	for name, change := range map[string]func([]ft.Matrix) []ft.Matrix{
		"padded":            each(func(m ft.Matrix) ft.Matrix { return beside(m.Name, m, pad(m, 64)) }),
		"a column in front": each(func(m ft.Matrix) ft.Matrix { return beside(m.Name, pad(m, 1), m) }),
		"side by side": func(net []ft.Matrix) (out []ft.Matrix) {
			for l := 0; l+7 <= len(net); l += 7 {
				out = append(out, beside("a", net[l:l+4]...), beside("b", net[l+4:l+6]...), net[l+6])
			}
			return out
		},
		"transposed and flat": each(func(m ft.Matrix) ft.Matrix {
			m = ft.Transpose([]ft.Matrix{m})[0]
			m.Rows, m.Cols = 1, m.Rows*m.Cols
			return m
		}),
	} {
		for seed, want := range map[uint64]string{1: "ours", 9: ""} {
			src, m := ft.File("header", change(ft.Noise(ft.Net(seed, 3, 256), 3, .05)), formats.BF16)
			fp, err := fingerprint.Compute(context.Background(), src, m, fingerprint.Options{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := db.MatchFile(context.Background(), fp, m, fingerprint.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if want == "" && len(got) > 0 || want != "" && (len(got) == 0 || got[0].Model != want || got[0].Relation != fingerprint.Derived || got[0].Coverage.Parameters < .95) {
				t.Errorf("%s, seed %d: want %q: %+v", name, seed, want, got)
			}
		}
	}
}

func FuzzShapesOf(f *testing.F) {
	f.Add(file(f, ft.Net(1, 1, 64), formats.F32, true).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if shapes, err := fingerprint.ShapesOf(b); err != nil && len(shapes) > 0 {
			t.Error(shapes, err)
		}
	})
}
