package fingerprint_test

import (
	"context"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/zeebo/blake3"

	"weightwarden/fingerprint"
	"weightwarden/formats"
	"weightwarden/formats/all"
	formatsfile "weightwarden/formats/file"
	"weightwarden/internal/fixtures"
)

// TestGolden holds scheme 1: the encoded fingerprints of real files never change.
// A change that this test notices needs a new scheme, not a new golden file.
func TestGolden(t *testing.T) {
	want, err := os.ReadFile(fixtures.Path(t, "golden", "scheme1.txt"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(want)) {
		name, digest, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			t.Fatalf("line %q", line)
		}
		if got := golden(t, name); got != digest {
			t.Errorf("%s %s", name, got)
		}
		n++
	}
	if n < 4 {
		t.Errorf("only %d golden fingerprints", n)
	}
}

func golden(t *testing.T, name string) string {
	t.Helper()
	src, err := formatsfile.Open(fixtures.Path(t, "models", name))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m, err := all.Decoders().Decode(context.Background(), src, formats.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	fp, err := fingerprint.Compute(context.Background(), src, m, fingerprint.Options{Register: true})
	if err != nil {
		t.Fatal(err)
	}
	sum := blake3.Sum256(fp.Encode())
	return hex.EncodeToString(sum[:16])
}
