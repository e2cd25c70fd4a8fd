package hdf5

import (
	"os"
	"path/filepath"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/file"
	"weightwarden/formats/formatstest"
	"weightwarden/internal/fixtures"
)

func TestReadsWhatTheReferenceReads(t *testing.T) {
	for _, name := range []string{"earliest.h5", "latest.h5", "user_block.h5", "small_earliest.h5", "small_latest.h5", "arrays.h5", "small_arrays.h5"} {
		t.Run(name, func(t *testing.T) { formatstest.Expect(t, Decoder{}, fixtures.Path(t, "fixtures/hdf5", name)) })
	}
}

func open(t *testing.T, name string) *formats.Model {
	t.Helper()
	src, err := file.Open(fixtures.Path(t, "fixtures/hdf5", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	m, err := formatstest.Check(t, Decoder{}, src, formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFindings(t *testing.T) {
	for name, want := range map[string]int{"earliest.h5": 0, "latest.h5": 0, "arrays.h5": 0, "user_block.h5": 1} {
		if m := open(t, name); len(m.Findings) != want {
			t.Errorf("%s: findings %v", name, m.Findings)
		}
	}
	m := open(t, "links.h5")
	codes := map[string]bool{}
	for _, f := range m.Findings {
		if f.Severity != formats.Danger {
			t.Errorf("%+v", f)
		}
		codes[f.Code] = true
	}
	if len(m.Tensors) != 3 || !codes["hdf5.link"] || !codes["hdf5.external"] || !codes["hdf5.virtual"] {
		t.Errorf("%d tensors, findings %v", len(m.Tensors), m.Findings)
	}
}

func corpus(tb testing.TB) []formatstest.Case {
	var out []formatstest.Case
	for _, name := range []string{"small_earliest.h5", "small_latest.h5", "small_arrays.h5"} {
		data, err := os.ReadFile(fixtures.Path(tb, "fixtures/hdf5", name))
		if err != nil {
			tb.Fatal(err)
		}
		m, err := Decoder{}.Decode(tb.Context(), formats.BytesSource(data), formats.Limits{})
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, formatstest.Case{Name: filepath.Base(name), Data: data, Tensors: len(m.Tensors), Header: 500})
	}
	return out
}

func TestConformance(t *testing.T) { formatstest.Run(t, Decoder{}, corpus(t)) }

func FuzzDecoder(f *testing.F) { formatstest.Fuzz(f, Decoder{}, corpus(f)) }
