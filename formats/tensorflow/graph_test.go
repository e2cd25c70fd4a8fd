package tensorflow

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/formatstest"
	"weightwarden/internal/fixtures"
)

func TestGraphsReadWhatTensorFlowReads(t *testing.T) {
	for _, name := range []string{"frozen.pb", "small.pb", "saved_model/saved_model.pb"} {
		t.Run(name, func(t *testing.T) {
			formatstest.Expect(t, GraphDecoder{}, fixtures.Path(t, "fixtures/tensorflow", filepath.FromSlash(name)))
		})
	}
}

// constant is a Const node of the given TensorProto.
func constant(name string, tensor proto) proto {
	return proto{}.Text(1, name).Text(2, "Const").Bytes(5, proto{}.Text(1, "value").Bytes(2, proto{}.Bytes(8, tensor)))
}

func tensorHead(dtype uint64, dims ...uint64) proto {
	var shape proto
	for _, d := range dims {
		shape = shape.Bytes(2, proto{}.Varint(1, d))
	}
	return proto{}.Varint(1, dtype).Bytes(2, shape)
}

func graphCorpus(tb testing.TB) []formatstest.Case {
	data, err := os.ReadFile(fixtures.Path(tb, "fixtures/tensorflow", "small.pb"))
	if err != nil {
		tb.Fatal(err)
	}
	a := arrays()
	graph := proto{}.Bytes(1, constant("a", tensorHead(1, 3).Bytes(4, a[0].Data))).
		Bytes(1, constant("b", tensorHead(14, 2, 3).Bytes(4, a[1].Data)))
	m, err := GraphDecoder{}.Decode(tb.Context(), formats.BytesSource(data), formats.Limits{})
	if err != nil {
		tb.Fatal(err)
	}
	return []formatstest.Case{
		{Name: "small", Data: data, Tensors: len(m.Tensors), Header: 300, Open: true},
		{Name: "saved model", Data: proto{}.Varint(1, 1).Bytes(2, proto{}.Bytes(2, graph)), Tensors: 2},
		{Name: "meta graph", Data: proto{}.Bytes(1, proto{}.Text(4, "serve")).Bytes(2, graph), Tensors: 2},
	}
}

func TestGraphConformance(t *testing.T) { formatstest.Run(t, GraphDecoder{}, graphCorpus(t)) }

func FuzzGraph(f *testing.F) { formatstest.Fuzz(f, GraphDecoder{}, graphCorpus(f)) }

func decodeGraph(t *testing.T, graph proto) *formats.Model {
	t.Helper()
	m, err := formatstest.Check(t, GraphDecoder{}, formats.BytesSource(graph), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// One value may stand for any number of them: they are unfolded up to a bound.
func TestRepeatedValues(t *testing.T) {
	half := tensorHead(19, 5).Packed(13, 0x3c00, 0x4000)
	m := decodeGraph(t, proto{}.Bytes(1, constant("half", half)))
	formatstest.Same(t, m, []formatstest.Array{{Name: "half", DType: formats.F16, Shape: []int64{5},
		Data: []byte{0, 0x3c, 0, 0x40, 0, 0x40, 0, 0x40, 0, 0x40}}})

	m = decodeGraph(t, proto{}.Bytes(1, constant("bomb", tensorHead(1, 1<<40).Fixed32(5, 7))))
	if len(m.Tensors) != 1 || m.Tensors[0].Data.Length != 4 || m.Tensors[0].DType != formats.Unknown || m.Findings[0].Code != "tensorflow.fill" {
		t.Errorf("tensors %+v, findings %v", m.Tensors, m.Findings)
	}
}

func TestGraphOddities(t *testing.T) {
	good := constant("w", tensorHead(1, 2).Bytes(4, make([]byte, 8)))
	both := proto{}.Bytes(1, good).Bytes(2, proto{}.Bytes(2, proto{}.Bytes(1, constant("hidden", tensorHead(1, 2).Bytes(4, []byte("12345678"))))))
	for name, c := range map[string]struct {
		graph   proto
		tensors int
		code    string
	}{
		"a graph and a saved model": {both.Varint(1, 1), 2, "tensorflow.kinds"},
		"wrong size":                {proto{}.Bytes(1, constant("w", tensorHead(1, 3).Bytes(4, make([]byte, 8)))), 1, "tensorflow.size"},
		"unknown type":              {proto{}.Bytes(1, constant("w", tensorHead(99, 2).Bytes(4, make([]byte, 8)))), 1, "tensorflow.size"},
		"text":                      {proto{}.Bytes(1, good).Bytes(1, constant("t", tensorHead(7).Text(8, "hello"))), 1, "tensorflow.text"},
		"broken node":               {proto{}.Bytes(1, good).Bytes(1, []byte{7}), 1, "tensorflow.message"},
		"broken end":                {append(proto{}.Bytes(1, good), 7), 1, "tensorflow.message"},
	} {
		m := decodeGraph(t, c.graph)
		if len(m.Tensors) != c.tensors || !hasCode(m, c.code) {
			t.Errorf("%s: %d tensors, findings %v", name, len(m.Tensors), m.Findings)
		}
	}
}

func hasCode(m *formats.Model, code string) bool {
	for _, f := range m.Findings {
		if f.Code == code {
			return true
		}
	}
	return false
}

func TestNoGraph(t *testing.T) {
	for name, data := range map[string]string{
		"a map":           string(proto{}.Bytes(1, proto{}.Text(1, "key").Text(2, "value"))),
		"text":            strings.Repeat("hello ", 100),
		"a sentencepiece": string(proto{}.Bytes(1, proto{}.Text(1, "piece").Fixed32(2, 9))),
	} {
		if m, err := formatstest.Check(t, GraphDecoder{}, formats.BytesSource(data), formats.Limits{}); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}
