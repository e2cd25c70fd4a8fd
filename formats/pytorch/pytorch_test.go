package pytorch_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/formatstest"
	"weightwarden/formats/pytorch"
	"weightwarden/internal/fixtures"
)

type expected struct {
	Name   string  `json:"name"`
	DType  string  `json:"dtype"`
	Shape  []int64 `json:"shape"`
	SHA256 string  `json:"sha256"`
}

func digest(t *testing.T, tensor *formats.Tensor) string {
	t.Helper()
	r, err := tensor.Reader()
	if err != nil {
		t.Errorf("%s: %v", tensor.Name, err)
		return ""
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Errorf("%s: %v", tensor.Name, err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func decode(t *testing.T, data []byte) *formats.Model {
	t.Helper()
	m, err := pytorch.Decoder{}.Decode(context.Background(), formats.BytesSource(data), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestAgainstPyTorch holds names, types, shapes and values against what PyTorch
// itself reads out of the files it wrote.
func TestAgainstPyTorch(t *testing.T) {
	files := append(fixtures.Glob(t, "fixtures/pytorch/*.pt*"), fixtures.Glob(t, "models/*.pt")...)
	for _, file := range files {
		if strings.HasSuffix(file, ".json") {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file + ".expect.json")
			if err != nil {
				t.Fatal(err)
			}
			var want []expected
			if err := json.Unmarshal(text, &want); err != nil || len(want) == 0 {
				t.Fatalf("%d expected tensors, %v", len(want), err)
			}
			m := decode(t, data)
			byName := map[string]*formats.Tensor{}
			for i := range m.Tensors {
				byName[m.Tensors[i].Name] = &m.Tensors[i]
			}
			for _, w := range want {
				tensor := byName[w.Name]
				if tensor == nil {
					t.Errorf("%s is missing", w.Name)
					continue
				}
				if tensor.DType.String() != w.DType || !equalShape(tensor.Shape, w.Shape) {
					t.Errorf("%s: %v %v, want %s %v", w.Name, tensor.DType, tensor.Shape, w.DType, w.Shape)
				}
				if got := digest(t, tensor); got != w.SHA256 {
					t.Errorf("%s: contents differ", w.Name)
				}
			}
			for _, f := range m.Findings {
				if f.Severity == formats.Unread || f.Severity == formats.Danger {
					t.Errorf("finding %s: %s", f.Code, f.Text)
				}
			}
		})
	}
}

func equalShape(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// corpus is real files of every variant.
func corpus(tb testing.TB) []formatstest.Case {
	var cases []formatstest.Case
	for name, tensors := range map[string]int{"t113_bare_tensor_zip.pt": 1, "t113_odd_zip.pt": 0, "t113_odd_legacy.pt": 0,
		"t113_ordered_legacy.pt": 0} {
		data, err := os.ReadFile(fixtures.Path(tb, "fixtures", "pytorch", name))
		if err != nil {
			tb.Fatal(err)
		}
		if tensors == 0 {
			m, err := pytorch.Decoder{}.Decode(context.Background(), formats.BytesSource(data), formats.Limits{})
			if err != nil {
				tb.Fatal(err)
			}
			tensors = len(m.Tensors)
		}
		cases = append(cases, formatstest.Case{Name: name, Data: data, Header: 100, Tensors: tensors})
	}
	slices.SortFunc(cases, func(a, b formatstest.Case) int { return strings.Compare(a.Name, b.Name) })
	return cases
}

func TestConformance(t *testing.T) { formatstest.Run(t, pytorch.Decoder{}, corpus(t)) }

func FuzzDecode(f *testing.F) {
	cases := corpus(f)
	for _, data := range modernCorpus(f) {
		cases = append(cases, formatstest.Case{Data: data})
	}
	formatstest.Fuzz(f, pytorch.Decoder{}, cases)
}
