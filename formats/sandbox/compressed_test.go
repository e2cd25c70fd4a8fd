//go:build linux

package sandbox_test

import (
	"archive/zip"
	"os"
	"path/filepath"
	"testing"

	"weightwarden/internal/fixtures"
)

// compressed is a model in a deflated zip, so that its tensors lie in the spool.
func compressed(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "models.zip")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(out)
	for _, name := range []string{"aurora.pt", "aurora.safetensors"} {
		data, err := os.ReadFile(fixtures.Path(t, "models", name))
		if err != nil {
			t.Fatal(err)
		}
		e, err := w.Create("inner/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
