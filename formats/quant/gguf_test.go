package quant_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/gguf"
	"weightwarden/formats/quant"
	"weightwarden/internal/fixtures"
)

// Whole files: what the decoder of GGUF and the views make of them has the digest
// of what the gguf package's dequantiser makes of them.
func TestViewsOfGGUFFiles(t *testing.T) {
	for _, path := range fixtures.Glob(t, "fixtures/gguf/*.gguf") {
		m, err := gguf.Decoder{}.Decode(t.Context(), formats.BytesSource(readFile(t, path)), formats.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		views := map[string]quant.View{}
		for _, v := range quant.Views(m) {
			views[v.Name] = v
		}
		var expected []struct {
			Name, DType string
			SHA256      string `json:"f32_sha256"`
		}
		if err := json.Unmarshal(readFile(t, path+".expect.json"), &expected); err != nil {
			t.Fatal(err)
		}
		for _, e := range expected {
			if e.SHA256 == "" {
				continue
			}
			t.Run(e.DType, func(t *testing.T) {
				v, ok := views[e.Name]
				if !ok {
					t.Fatalf("no view of %q", e.Name)
				}
				if got := digest(t, &v); got != strings.ToLower(e.SHA256) {
					t.Errorf("digest of %q is %s, want %s", e.Name, got, e.SHA256)
				}
			})
		}
	}
}

// digest is the SHA-256 of a view's numbers as little-endian f32.
func digest(t *testing.T, v *quant.View) string {
	t.Helper()
	var b []byte
	for _, x := range readAll(t, v) {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
