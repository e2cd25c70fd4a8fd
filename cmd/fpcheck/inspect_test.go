package main

import (
	"bytes"
	"testing"

	"weightwarden/formats"
	"weightwarden/internal/cli"
	"weightwarden/internal/fixtures"
)

// TestInspectStreams: tensors that are written one by one make the same bytes.
func TestInspectStreams(t *testing.T) {
	for _, name := range []string{"models/aurora.safetensors", "models/aurora.pt", "models/aurora-q4_0.gguf", "fixtures/zarr/orbax_v3/manifest.ocdbt"} {
		m, size, done, err := decodeModel(t.Context(), fixtures.Path(t, name))
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		hostile := formats.Tensor{Name: "a\"],\"tensors\":[],<b>&\u2028\n", Member: `"tensors":[]`, Shape: []int64{1}}
		for _, tensors := range [][]formats.Tensor{nil, {hostile}, append(m.Tensors, hostile)} {
			for _, path := range []string{name, `x"tensors":[]`} {
				m.Tensors = tensors
				var want, got bytes.Buffer
				if err := cli.WriteJSON(&want, describe(path, size, m, len(tensors))); err != nil {
					t.Fatal(err)
				}
				if err := describe(path, size, m, 0).writeJSON(&got, tensors); err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
					t.Errorf("%s, %d tensors: %v\n%.300s\nwant\n%.300s", path, len(tensors), err, got.Bytes(), want.Bytes())
				}
			}
		}
	}
}
