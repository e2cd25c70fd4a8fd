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

// Blocks of a big-endian file: every binary16 in them has its bytes reversed.
func TestViewsOfBigEndianBlocks(t *testing.T) {
	halves := map[string][]int{"Q4_0": {0}, "Q4_1": {0, 2}, "Q8_0": {0}, "Q2_K": {80, 82}, "Q3_K": {108}, "Q4_K": {0, 2}, "Q5_K": {0, 2},
		"Q6_K": {208}, "IQ4_NL": {0}, "IQ2_S": {0}, "IQ3_S": {0}, "TQ1_0": {52}, "TQ2_0": {64}, "Q1_0": {0}, "Q2_0": {0}, "MXFP4": nil, "NVFP4": nil}
	for name, d := range ggmlTypes() {
		t.Run(name, func(t *testing.T) {
			per, bits := d.Block()
			src := make([]byte, bits/8) // there are no vectors of types without a dequantiser
			if d != formats.Q8_1 && d != formats.IQ4_48 {
				src = readFile(t, fixtures.Path(t, "quant", "ggml", name+".packed"))
			}
			if swaps, known := halves[name]; known {
				for at := 0; at < len(src); at += int(bits / 8) {
					for _, h := range swaps {
						src[at+h], src[at+h+1] = src[at+h+1], src[at+h]
					}
				}
			}
			x := tensor("w", d, src, int64(len(src))*8/bits, per)
			x.Data.BigEndian = true
			views := quant.Views(&formats.Model{Tensors: []formats.Tensor{x}})
			if _, known := halves[name]; !known {
				if len(views) != 0 {
					t.Errorf("%d views of blocks whose order is not known", len(views))
				}
				return
			}
			if len(views) != 1 {
				t.Fatalf("%d views, want 1", len(views))
			}
			equalNumbers(t, readAll(t, &views[0]), floats(t, fixtures.Path(t, "quant", "ggml", name+".f32")))
		})
	}
}
