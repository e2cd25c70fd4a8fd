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

func FuzzShapesOf(f *testing.F) {
	f.Add(file(f, ft.Net(1, 1, 64), formats.F32, true).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if shapes, err := fingerprint.ShapesOf(b); err != nil && len(shapes) > 0 {
			t.Error(shapes, err)
		}
	})
}
