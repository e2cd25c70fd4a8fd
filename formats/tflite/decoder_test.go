package tflite

import (
	"slices"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/formatstest"
)

type fb = formatstest.Table

func tensor(name string, typ byte, buffer uint32, shape ...int32) fb {
	return fb{shape, typ, buffer, name}
}

// model is a model of one sub-graph; buffer 0 is the empty one.
func model(tensors []fb, buffers ...fb) []byte {
	graph := fb{tensors, nil, nil, nil, "main"}
	return formatstest.FlatBuffer("TFL3", fb{uint32(3), []fb{}, []fb{graph}, "a test", append([]fb{{}}, buffers...)})
}

func arrays() []formatstest.Array {
	return []formatstest.Array{formatstest.Counting("w", formats.F32, 1, 2, 3), formatstest.Counting("b", formats.I8, 5, 7),
		formatstest.Counting("n", formats.I4, 9, 6)}
}

func good() []byte {
	a := arrays()
	return model([]fb{tensor("w", 0, 1, 2, 3), tensor("computed", 0, 0, 1, 3), tensor("b", 9, 2, 7), tensor("n", 17, 3, 6)},
		fb{a[0].Data}, fb{a[1].Data}, fb{a[2].Data})
}

// behind has its data behind the FlatBuffer, as models over 2 GiB do.
func behind() []byte {
	a := arrays()[0]
	size := len(model([]fb{tensor("w", 0, 1, 2, 3)}, fb{nil, uint64(1 << 20), uint64(24)}))
	return append(model([]fb{tensor("w", 0, 1, 2, 3)}, fb{nil, uint64(size), uint64(24)}), a.Data...)
}

func corpus() []formatstest.Case {
	return []formatstest.Case{{Name: "model", Data: good(), Tensors: 3}, {Name: "behind", Data: behind(), Tensors: 1}}
}

func TestConformance(t *testing.T) { formatstest.Run(t, Decoder{}, corpus()) }

func FuzzDecoder(f *testing.F) { formatstest.Fuzz(f, Decoder{}, corpus()) }

func TestModel(t *testing.T) {
	for _, c := range []struct {
		name  string
		data  []byte
		want  []formatstest.Array
		codes string
	}{
		{"model", good(), arrays(), ""},
		{"behind", behind(), arrays()[:1], ""},
		{"shared buffer", model([]fb{tensor("w", 0, 1, 2, 3), tensor("v", 3, 1, 24)}, fb{arrays()[0].Data}),
			[]formatstest.Array{arrays()[0], {Name: "v", DType: formats.U8, Shape: []int64{24}, Data: arrays()[0].Data}}, ""},
		{"wrong size", model([]fb{tensor("w", 0, 1, 9)}, fb{[]byte("abc")}),
			[]formatstest.Array{{Name: "w", Shape: []int64{3}, Data: []byte("abc")}}, "size"},
		{"buffer out of range", model([]fb{tensor("w", 0, 65535, 9), tensor("v", 3, 1, 3)}, fb{[]byte("abc")}),
			[]formatstest.Array{{Name: "v", DType: formats.U8, Shape: []int64{3}, Data: []byte("abc")}}, "tensor"},
		{"wrapping offset", model([]fb{tensor("w", 0, 1, 9), tensor("v", 3, 2, 3)}, fb{nil, uint64(1<<64 - 8), uint64(16)}, fb{[]byte("abc")}),
			[]formatstest.Array{{Name: "v", DType: formats.U8, Shape: []int64{3}, Data: []byte("abc")}}, "tensor buffer"},
		{"unused buffer", model([]fb{}, fb{make([]byte, 5000)}),
			[]formatstest.Array{{Name: "buffer 1", Shape: []int64{5000}, Data: make([]byte, 5000)}}, "unused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(c.data), formats.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			formatstest.Same(t, m, c.want)
			var codes []string
			for _, f := range m.Findings {
				codes = append(codes, strings.TrimPrefix(f.Code, "tflite."))
			}
			if strings.Join(codes, " ") != c.codes || !slices.Contains(m.Metadata, formats.KeyValue{Key: "description", Value: "a test"}) {
				t.Errorf("findings %v, metadata %v", m.Findings, m.Metadata)
			}
		})
	}
}

// A list whose entries all lead to one place makes a small file expensive.
func TestRepeatedTables(t *testing.T) {
	one := tensor(strings.Repeat("x", 4000), 3, 1, 3)
	data := model(slices.Repeat([]fb{one}, 100_000), fb{[]byte("abc")})
	m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(data), formats.Limits{})
	if err != nil || len(m.Tensors) == 0 || m.Findings[len(m.Findings)-1].Severity != formats.Unread {
		t.Errorf("%d bytes: %v, %v", len(data), m.Findings, err)
	}
}

func TestHugeModel(t *testing.T) {
	const size = 100 << 30
	head := model([]fb{tensor("w", 0, 1, 1<<30, 25)}, fb{nil, uint64(1 << 20), uint64(size)})
	m, err := Decoder{}.Decode(t.Context(), formatstest.Sparse{Head: head, Bytes: 1<<20 + size}, formats.Limits{})
	if err != nil || len(m.Tensors) != 1 || m.Tensors[0].Data.Length != size || len(m.Findings) != 0 {
		t.Errorf("%+v, %v", m, err)
	}
}
