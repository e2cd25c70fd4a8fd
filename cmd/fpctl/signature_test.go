package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weightwarden/internal/fixtures"
)

// A file is registered under a signature only as the file that was signed.
func TestCheckSignature(t *testing.T) {
	dir := t.TempDir()
	put := func(name, model string) string {
		t.Helper()
		b, err := os.ReadFile(fixtures.Path(t, "models", model))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole, part := put("vit-1.safetensors", "vit-1.safetensors"), put("parts/conv-1.safetensors", "conv-1.safetensors")
	other, added := put("elsewhere/vit-1.safetensors", "vit-2.safetensors"), put("vit-2.safetensors", "vit-2.safetensors")
	for name, c := range map[string]struct {
		operands, paths []string
		wrong           string
	}{
		"the folder":            {[]string{dir}, []string{whole, part}, ""},
		"one file":              {[]string{whole}, []string{whole}, ""},
		"a file of a subfolder": {[]string{part}, []string{part}, "is not in the signature"},
		"other weights":         {[]string{other}, []string{other}, "SHA-256"},
		"a file more":           {[]string{dir}, []string{whole, added}, "is not in the signature"},
	} {
		signer, err := checkSignature(t.Context(), fixtures.Path(t, "fixtures/modelsign", "prime256v1.sig"), fixtures.Path(t, "fixtures/modelsign", "prime256v1.pem"), c.operands, c.paths)
		if c.wrong == "" && (err != nil || !strings.HasPrefix(signer, "key sha256:")) || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: %q, %v", name, signer, err)
		}
	}
}
