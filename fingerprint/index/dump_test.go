package index_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/fingerprint/index"
	"weightwarden/formats"
)

// dump writes the matrices one behind another, with norms of width between some.
func dump(net []ft.Matrix, d formats.DType, width int) []byte {
	var out []byte
	norm := make([]float32, width)
	for i := range norm {
		norm[i] = 1 + float32(i%7)/50
	}
	for i, m := range net {
		if i%7 == 0 {
			out = append(out, ft.Encode(norm, width, d)...)
		}
		out = append(out, ft.Encode(m.Data, m.Cols, d)...)
	}
	return out
}

// flat is a file of one tensor, or one that no decoder reads.
func flat(b []byte, d formats.DType) (formats.Source, *formats.Model) {
	src := formats.BytesSource(b)
	if d == formats.Unknown {
		return src, nil
	}
	t := formats.Tensor{Name: "flat", DType: d, Shape: []int64{int64(len(b))}, Data: formats.Extent{Source: src, Length: int64(len(b))}}
	block, bits := d.Block()
	t.Shape[0] = int64(len(b)) * 8 / bits * block
	return src, &formats.Model{Format: "test", Tensors: []formats.Tensor{t}}
}

// Of many models those are looked for that have rows somewhere in the file.
func TestDumpAmongManyModels(t *testing.T) {
	db := index.New()
	for i := range 40 {
		add(t, db, string(rune('A'+i)), "1", "protected", file(t, ft.Net(uint64(i), 1, 128), formats.F32, true))
	}
	b := dump(ft.Noise(ft.Net(7, 1, 128), 1, .02), formats.BF16, 128)
	src, m := flat(b, formats.BF16)
	fp, err := fingerprint.Compute(context.Background(), src, m, fingerprint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := db.MatchFile(context.Background(), fp, m, fingerprint.Options{})
	if err != nil || len(got) != 1 || got[0].Model != string(rune('A'+7)) || got[0].Coverage.Parameters < .99 {
		t.Errorf("among 40 models: %+v, %v", got, err)
	}
}

// Numbers that lie one behind another are found without anything that says where a
// matrix begins, and those of a stranger are not.
func TestDumps(t *testing.T) {
	const width = 256
	base := ft.Net(1, 3, width)
	norm := ft.Matrix{Name: "norm", Rows: 1, Cols: width, Data: make([]float32, width)}
	for i := range norm.Data {
		norm.Data[i] = 1 + float32(i%5)/40
	}
	db := index.New()
	add(t, db, "ours", "1", "protected", file(t, append([]ft.Matrix{norm}, base...), formats.F32, true))
	add(t, db, "another", "1", "protected", file(t, ft.Net(5, 3, width), formats.F32, true))
	for name, c := range map[string]struct {
		change func([]ft.Matrix) []ft.Matrix
		bytes  func([]byte) []byte
		d, as  formats.DType
		least  float64 // of the parameters
	}{
		"one flat tensor, cast": {d: formats.BF16, as: formats.BF16, least: .99},
		"trained":               {change: func(n []ft.Matrix) []ft.Matrix { return ft.Noise(n, 3, .2) }, d: formats.F32, as: formats.F32, least: .99},
		"quantised":             {d: formats.Q8_0, as: formats.Q8_0, least: .99},
		"bytes behind others":   {bytes: func(b []byte) []byte { return append([]byte("odd"), b...) }, d: formats.BF16, as: formats.Unknown, least: .99},
		"widened": {change: func(n []ft.Matrix) []ft.Matrix {
			return ft.Map(n, func(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ 0xffff) })
		}, d: formats.F32, as: formats.Unknown, least: .99},
		"called bytes":     {change: func(n []ft.Matrix) []ft.Matrix { return ft.Noise(n, 3, .05) }, d: formats.F32, as: formats.U8, least: .99},
		"cut at both ends": {bytes: func(b []byte) []byte { return b[700001 : len(b)-500001] }, d: formats.BF16, as: formats.Unknown, least: .6},
		"in another order": {change: func(n []ft.Matrix) []ft.Matrix {
			n = append([]ft.Matrix(nil), n...)
			rand.New(rand.NewPCG(1, 1)).Shuffle(len(n), func(i, j int) { n[i], n[j] = n[j], n[i] })
			return n
		}, d: formats.BF16, as: formats.BF16, least: .99},
	} {
		for seed, want := range map[uint64]string{1: "ours", 9: ""} {
			net := ft.Net(seed, 3, width)
			if c.change != nil {
				net = c.change(net)
			}
			b := dump(net, c.d, width)
			if c.bytes != nil {
				b = c.bytes(b)
			}
			src, m := flat(b, c.as)
			fp, err := fingerprint.Compute(context.Background(), src, m, fingerprint.Options{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := db.MatchFile(context.Background(), fp, m, fingerprint.Options{})
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case want == "" && len(got) > 0:
				t.Errorf("%s: a stranger's are called %+v", name, got[0])
			case want != "" && len(got) == 0:
				t.Errorf("%s: not found", name)
			case want != "" && (got[0].Model != want || got[0].Coverage.Parameters < c.least):
				t.Errorf("%s: %s, %.3f of the parameters", name, got[0].Model, got[0].Coverage.Parameters)
			}
			if len(got) > 0 {
				t.Logf("%s: %s %s %.3f %d tensors", name, got[0].Model, got[0].Relation, got[0].Coverage.Parameters, len(got[0].Tensors))
			}
		}
	}
}
