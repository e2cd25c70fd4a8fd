package embedded_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/archive/embedded"
	"weightwarden/internal/fixtures"
)

func read(tb testing.TB, dir, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(fixtures.Path(tb, dir, name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// junk is a picture, or what comes behind one.
func junk(n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(n)})
	rng.Read(b)
	copy(b, "\x89PNG\r\n\x1a\n")
	return b
}

// A model is found behind and in front of junk, with all of its tensors.
func TestModelsWithinJunk(t *testing.T) {
	for _, name := range []string{"vit-1.safetensors", "aurora-q4_0.gguf", "aurora.pt"} {
		model := read(t, "models", name)
		whole, err := all.Decoders().Decode(t.Context(), formats.BytesSource(model), formats.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for _, sizes := range [][2]int{{100_001, 0}, {9, 200_000}, {1<<20 - 3, 70_000}, {1<<20 + 5, 1}, {3 << 20, 0}} {
			data := slices.Concat(junk(sizes[0]), model, junk(sizes[1]))
			m, err := all.Decoders().Decode(t.Context(), formats.BytesSource(data), formats.Limits{})
			if err != nil {
				t.Errorf("%s after %d bytes: %v", name, sizes[0], err)
				continue
			}
			if len(m.Tensors) != len(whole.Tensors) || !told(m, "disguised") && m.Format != "zip" && m.Format != "pytorch" {
				t.Errorf("%s after %d bytes: %s, %d of %d tensors, %v", name, sizes[0], m.Format, len(m.Tensors), len(whole.Tensors), m.Findings)
			}
		}
	}
}

func told(m *formats.Model, code string) bool {
	return slices.ContainsFunc(m.Findings, func(f formats.Finding) bool { return f.Code == code })
}

// A model in front does not hide the one behind it.
func TestDecoy(t *testing.T) {
	decoy, model := read(t, "models", "vit-1.safetensors"), read(t, "models", "aurora-q4_0.gguf")
	for name, between := range map[string][]byte{"at once": nil, "behind junk": junk(1000)} {
		m, err := all.Decoders().Decode(t.Context(), formats.BytesSource(slices.Concat(decoy, between, model)), formats.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if m.Format != "safetensors+embedded(gguf)" || !told(m, "disguised") || !told(m, "polyglot") {
			t.Errorf("%s: %s, %v", name, m.Format, m.Findings)
		}
	}
}

// What only looks like a model changes nothing: no finding, no format.
func TestNothingWithin(t *testing.T) {
	magics := strings.Repeat("GGUF\x03\x00\x00\x00\x1f\x8b\x08\x00PK\x03\x04\x14\x00\x93NUMPY\x01\x00{\"a\":1}\x89HDF\r\n\x1a\n\x28\xb5\x2f\xfd", 2000)
	text := strings.Repeat(`{"name":"x","list":[{"a":1},{"b":2}]}`+"\n", 10_000)
	for name, data := range map[string][]byte{"junk": junk(3 << 20), "magic numbers": append(junk(100), magics...), "JSON": []byte(text), "a picture": junk(1000),
		"behind a model": append(read(t, "models", "vit-1.safetensors"), junk(300_000)...)} {
		m, err := all.Decoders().Decode(t.Context(), formats.BytesSource(data), formats.Limits{})
		if m != nil && (told(m, "disguised") || strings.Contains(string(m.Format), "embedded")) {
			t.Errorf("%s: %s, %v", name, m.Format, m.Findings)
		}
		if m == nil && err == nil {
			t.Errorf("%s: neither a model nor an error", name)
		}
	}
}

// Only the beginning of a large file is searched, and that is said.
func TestSearchIsBounded(t *testing.T) {
	model := read(t, "models", "aurora-q4_0.gguf")
	src := &padded{junk: junk(4096), model: model, size: 100 << 30}
	m, err := all.Decoders().Decode(t.Context(), src, formats.Limits{})
	if err != nil || !told(m, "embedded.search") {
		t.Fatalf("%+v, %v", m, err)
	}
	if src.read > 200<<20 {
		t.Errorf("%d bytes were read", src.read)
	}
}

// padded is junk, a model, and zeros to its size.
type padded struct {
	junk, model []byte
	size, read  int64
}

func (p *padded) Size() int64 { return p.size }

func (p *padded) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	p.read += int64(len(b))
	for _, part := range []struct {
		at   int64
		data []byte
	}{{0, p.junk}, {int64(len(p.junk)), p.model}} {
		if from := max(off, part.at); from < min(off+int64(len(b)), part.at+int64(len(part.data))) {
			copy(b[from-off:], part.data[from-part.at:])
		}
	}
	return len(b), nil
}

func FuzzOpen(f *testing.F) {
	model := read(f, "fixtures/gguf", "v3.gguf")
	f.Add(slices.Concat(junk(100), model))
	f.Add(slices.Concat(junk(70_000), read(f, "models", "vit-1.safetensors")[:4000]))
	f.Add(bytes.Repeat([]byte("GGUF\x03\x00\x00\x00PK\x03\x04\x1f\x8b\x08\x00"), 50))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := embedded.Container{}.Open(context.Background(), formats.BytesSource(data), formats.Limits{})
		if (m == nil) == (err == nil) {
			t.Fatal(m, err)
		}
		whole, err := all.Decoders().Decode(context.Background(), formats.BytesSource(append(junk(64<<10), data...)), formats.Limits{InflatedBytes: 4 << 20, HeaderBytes: 1 << 20})
		if (whole == nil) == (err == nil) {
			t.Fatal(whole, err)
		}
	})
}
