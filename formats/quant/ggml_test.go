package quant_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/quant"
	"weightwarden/internal/fixtures"
)

// ggmlTypes are all block types, by name.
func ggmlTypes() map[string]formats.DType {
	types := map[string]formats.DType{}
	for id := range uint32(64) {
		if d, ok := formats.GGML(id); ok && d.IsBlock() {
			types[d.String()] = d
		}
	}
	return types
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func floats(t testing.TB, path string) []float32 {
	t.Helper()
	b := readFile(t, path)
	x := make([]float32, len(b)/4)
	if err := quant.Decode(formats.F32, x, b); err != nil {
		t.Fatal(err)
	}
	return x
}

// equalNumbers reports the first difference; all NaN are equal.
func equalNumbers(t *testing.T, got, want []float32) {
	t.Helper()
	if len(got) != len(want) || len(want) == 0 {
		t.Fatalf("%d numbers, want %d", len(got), len(want))
	}
	for i, w := range want {
		if math.Float32bits(got[i]) != math.Float32bits(w) && !(math.IsNaN(float64(got[i])) && math.IsNaN(float64(w))) {
			t.Fatalf("number %d is %v (%#x), want %v (%#x)", i, got[i], math.Float32bits(got[i]), w, math.Float32bits(w))
		}
	}
}

// Every block type decodes to the bits that ggml's dequantisers make, from real
// quantised blocks and from random bytes.
func TestDecodeEqualsGGML(t *testing.T) {
	types := ggmlTypes()
	seen := map[formats.DType]bool{}
	for _, path := range fixtures.Glob(t, "quant/ggml/*.packed") {
		name := strings.TrimSuffix(filepath.Base(path), ".packed")
		d, ok := types[name]
		if !ok {
			t.Errorf("no type is called %q", name)
			continue
		}
		seen[d] = true
		t.Run(name, func(t *testing.T) {
			want := floats(t, strings.TrimSuffix(path, ".packed")+".f32")
			src := readFile(t, path)
			if !quant.CanDecode(d) { // interleaved: four or eight rows of 64
				rows := int64(len(want) / 64)
				m := &formats.Model{Tensors: []formats.Tensor{tensor("w", d, src, rows, 64)}}
				views := quant.Views(m)
				if len(views) != 1 {
					t.Fatalf("%d views, want 1", len(views))
				}
				equalNumbers(t, readAll(t, &views[0]), want)
				return
			}
			got := make([]float32, len(want))
			if err := quant.Decode(d, got, src); err != nil {
				t.Fatal(err)
			}
			equalNumbers(t, got, want)
		})
	}
	for name, d := range types {
		if !seen[d] && d != formats.Q8_1 && d != formats.IQ4_48 { // ggml has no function for these
			t.Errorf("no vectors for %s", name)
		}
	}
}

func TestDecodeQ8_1(t *testing.T) {
	src := make([]byte, 36)
	src[1] = 0x38       // scale 0.5
	src[2] = 0xff       // the sum, which must not matter
	src[4+31] = 256 - 3 // the last element
	got := make([]float32, 32)
	if err := quant.Decode(formats.Q8_1, got, src); err != nil {
		t.Fatal(err)
	}
	want := make([]float32, 32)
	want[31] = -1.5
	equalNumbers(t, got, want)
}
