package fingerprint

import (
	"math"
	"math/rand/v2"
	"testing"

	"weightwarden/fingerprint/internal/simd"
	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// TestKernelsAgreeWithQuant decodes random bytes both ways: the decoders of formats/quant are the definition.
func TestKernelsAgreeWithQuant(t *testing.T) {
	const values = 4096
	r := rand.New(rand.NewPCG(1, 2))
	tested := 0
	for d := range formats.DType(2000) {
		if kernel(d) == nil {
			continue
		}
		tested++
		n, ok := d.Bytes(values)
		if !ok {
			t.Fatalf("%s: %d values are no whole number of bytes", d, values)
		}
		src := make([]byte, n)
		for i := range src {
			src[i] = byte(r.Uint32())
		}
		want, got := make([]float32, values), make([]float32, values)
		if err := quant.Decode(d, want, src); err != nil {
			t.Fatal(err)
		}
		if err := DecodeValues(d, got, src); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) {
				t.Fatalf("%s: value %d is %g, want %g", d, i, got[i], want[i])
			}
		}
	}
	if tested < 6 || simd.HasBlocks() && tested < 16 {
		t.Errorf("only %d types have a kernel", tested)
	}
	if err := DecodeValues(formats.BF16, make([]float32, 10), make([]byte, 19)); err == nil {
		t.Error("a short source gave no error")
	}
}
