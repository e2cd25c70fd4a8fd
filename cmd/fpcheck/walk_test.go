package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Small files that stand for a whole model are not passed by.
func TestWalkVisitsWhatStandsForMore(t *testing.T) {
	top := t.TempDir()
	for _, name := range []string{"ck/manifest.ocdbt", "ck/d/0f", "w/.zarray", "w/0.0", "v3/zarr.json", "m.safetensors.index.json", "notes.txt"} {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("small"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(top, "large"), make([]byte, smallest), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	w := walker{fail: func(path string, err error) { t.Errorf("%s: %v", path, err) }, visit: func(path string) error {
		name, err := filepath.Rel(top, path)
		got = append(got, filepath.ToSlash(name))
		return err
	}}
	if err := w.walk(t.Context(), top); err != nil {
		t.Fatal(err)
	}
	want := []string{"ck/manifest.ocdbt", "large", "m.safetensors.index.json", "v3/zarr.json", "w/.zarray"}
	if slices.Sort(got); !slices.Equal(got, want) || w.small != 3 {
		t.Errorf("visited %q, passed by %d; want %q", got, w.small, want)
	}
}

func TestModelFolder(t *testing.T) {
	for path, want := range map[string]string{"a/b/.zarray": "a", "a/b/zarr.json": "a", "a/b/manifest.ocdbt": "a/b", "a/b/m.gguf": "a/b"} {
		if got := filepath.ToSlash(modelFolder(filepath.FromSlash(path))); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
