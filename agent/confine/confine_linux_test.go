package confine

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/file"
	"weightwarden/formats/sandbox"
	"weightwarden/internal/fixtures"
	"weightwarden/internal/judge"
)

// TestMain is a program that starts itself as a child, as fpagent does.
func TestMain(m *testing.M) {
	if sandbox.IsChild(os.Args) {
		os.Exit(sandbox.Child(all.Decoders()))
	}
	os.Exit(m.Run())
}

func open(t testing.TB, name ...string) *file.File {
	t.Helper()
	f, err := file.Open(fixtures.Path(t, name...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestDecodesInAChild(t *testing.T) {
	d := New(t.TempDir())
	held, err := d.Check(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 && !slices.Contains(held, "uid=65534") {
		t.Errorf("a child of root holds %q: it is still root", held)
	}
	m, err := d.Decode(context.Background(), open(t, "models", "aurora.safetensors"), formats.Limits{})
	if err != nil || m.Format != "safetensors" || len(m.Tensors) == 0 {
		t.Errorf("model %+v, error %v", m, err)
	}
}

// A file that its decoder refuses is the file's trouble, and is judged as such.
func TestRefusalIsNotBreakage(t *testing.T) {
	d := New(t.TempDir())
	_, err := d.Decode(context.Background(), open(t, "README.md"), formats.Limits{})
	if err == nil || errors.Is(err, judge.ErrNoDecoder) {
		t.Errorf("a file of no format gives %v", err)
	}
}

// Where no child works at all a file is not judged, instead of being read here.
func TestNoChildMeansNoVerdict(t *testing.T) {
	for name, program := range map[string]string{"missing": "/nonexistent/fpagent", "useless": "/bin/false"} {
		t.Run(name, func(t *testing.T) {
			d := &Decoder{child: sandbox.New(sandbox.Config{Program: program}), spool: t.TempDir()}
			j := &judge.Judge{Decoder: d}
			v, err := j.Judge(context.Background(), open(t, "models", "aurora.safetensors"), false)
			if v != nil || !errors.Is(err, judge.ErrNoDecoder) {
				t.Errorf("verdict %v, error %v", v, err)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	d := New(b.TempDir())
	f := open(b, "models", "aurora.safetensors")
	for b.Loop() {
		if _, err := d.Decode(context.Background(), f, formats.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
