package keyfile_test

import (
	"testing"

	"weightwarden/formats/keyfile"
)

func TestKeys(t *testing.T) {
	for path, want := range map[string][2]bool{ // Opaque, Is
		"/a/manifest.ocdbt":               {true, true},
		"manifest.ocdbt":                  {true, true},
		"/a/w/.zarray":                    {true, true},
		"/a/w/zarr.json":                  {true, true},
		"/js/model.json":                  {true, true},
		"/a/model.safetensors.index.json": {false, true},
		"/a/manifest.ocdbt.old":           {},
		"/a/config.json":                  {},
		"/a/manifest.ocdbt/d/0a":          {},
		"":                                {},
	} {
		if got := [2]bool{keyfile.Opaque(path), keyfile.Is(path)}; got != want {
			t.Errorf("%q: %v, want %v", path, got, want)
		}
	}
}
