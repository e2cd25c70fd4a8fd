package fingerprint_test

import (
	"context"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/formats"
)

// TestRefine fuses q, k, v and gate, up of every layer, stacks the layers' down
// projections, and cuts tensors into quarters.
func TestRefine(t *testing.T) {
	net := ft.Net(1, 4, 256)
	reg := file(t, "h", net, formats.F32, true)
	var fused, quarters []ft.Matrix
	var downs []ft.Matrix
	for l := range 4 {
		x := net[l*7:]
		fused = append(fused, ft.Fuse("qkv", x[0], x[1], x[2]), x[3], ft.Fuse("gate_up", x[4], x[5]))
		downs = append(downs, x[6])
	}
	fused = append(fused, ft.Fuse("down stack", downs...))
	for _, m := range net {
		quarters = append(quarters, ft.RowsOf(m, m.Rows/4, m.Rows/2))
	}
	for _, c := range []struct {
		name string
		ms   []ft.Matrix
		d    formats.DType
		want fingerprint.Relation
		min  float64
	}{
		{"fused q8", fused, formats.Q8_0, fingerprint.Quantised, 0.99},
		{"fused q4", fused, formats.Q4_0, fingerprint.Quantised, 0.99},
		{"second quarters, bf16", quarters, formats.BF16, fingerprint.Partial, 0.24},
	} {
		src, m := ft.File("x", c.ms, c.d)
		fp := compute(t, src, m, false)
		if _, err := fingerprint.Refine(context.Background(), m, reg, fp, fingerprint.Options{}); err != nil {
			t.Fatal(err)
		}
		got := fingerprint.Compare(reg, fp)
		if got.Relation != c.want || got.Coverage.Parameters < c.min {
			t.Errorf("%s: %s, %.3f of the parameters", c.name, got.Relation, got.Coverage.Parameters)
			for _, x := range got.Tensors {
				t.Log(x.Registered, x.Suspect, x.Relation, x.Transform, x.Hits, x.Tested)
			}
		}
	}
}
