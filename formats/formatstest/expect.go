package formatstest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/file"
)

// expected is one entry of a NAME.expect.json of testdata, which the format's
// reference library wrote.
type expected struct {
	Name   string
	DType  string
	Shape  []int64
	SHA256 string
}

// Expect decodes the file at path and compares every tensor (name, dtype, shape
// and the digest of its logical bytes) with what the reference library read.
func Expect(t *testing.T, dec formats.Decoder, path string) {
	t.Helper()
	got, want := expectAmong(t, dec, path)
	if len(got) != len(want) {
		t.Errorf("%d tensors, want %d", len(got), len(want))
	}
}

// ExpectAmong is Expect for a decoder that finds more than the reference library
// lists: constants of an ONNX graph beside its initializers.
func ExpectAmong(t *testing.T, dec formats.Decoder, path string) {
	t.Helper()
	expectAmong(t, dec, path)
}

func expectAmong(t *testing.T, dec formats.Decoder, path string) (got, want []expected) {
	t.Helper()
	src, err := file.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m, err := dec.Decode(context.Background(), src, formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return expectModel(t, m, path)
}

// ExpectModel is Expect for a model that was decoded in another way.
func ExpectModel(t *testing.T, m *formats.Model, path string) {
	t.Helper()
	got, want := expectModel(t, m, path)
	if len(got) != len(want) {
		t.Errorf("%d tensors, want %d", len(got), len(want))
	}
}

func expectModel(t *testing.T, m *formats.Model, path string) (got, want []expected) {
	t.Helper()
	text, err := os.ReadFile(path + ".expect.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &want); err != nil || len(want) == 0 {
		t.Fatalf("%d tensors expected, error %v", len(want), err)
	}
	got = Digests(t, m)
	have := map[string]bool{}
	for _, g := range got {
		have[fmt.Sprint(g)] = true
	}
	for _, w := range want {
		if !have[fmt.Sprint(w)] {
			t.Errorf("tensor %+v is missing or differs", w)
		}
	}
	return got, want
}

// Digests lists a model's tensors by name with the SHA-256 of their bytes.
func Digests(tb testing.TB, m *formats.Model) []expected {
	tb.Helper()
	var out []expected
	for i := range m.Tensors {
		t := &m.Tensors[i]
		h := sha256.New()
		r, err := t.Reader()
		if err == nil {
			_, err = io.Copy(h, r)
		}
		if err != nil {
			tb.Errorf("tensor %q: %v", t.Name, err)
		}
		out = append(out, expected{t.Name, t.DType.String(), t.Shape, hex.EncodeToString(h.Sum(nil))})
	}
	slices.SortFunc(out, func(a, b expected) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
