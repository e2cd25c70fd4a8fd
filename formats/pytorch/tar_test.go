package pytorch_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/formatstest"
	"weightwarden/formats/pytorch"
)

func tar01(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile("testdata/tar01.pt")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func floats(v ...float32) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, v)
	if err != nil {
		panic(err)
	}
	return b
}

// TestTar reads a file in the layout of PyTorch 0.1 that PyTorch 1.13 loads with
// the values below; see testdata/tar01.py.
func TestTar(t *testing.T) {
	m := decode(t, tar01(t))
	if m.Variant != "tar" || len(m.Findings) != 0 {
		t.Errorf("%s %v", m.Variant, m.Findings)
	}
	weight := floats(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
	want := []struct {
		name  string
		dtype formats.DType
		data  []byte
	}{
		{"weight", formats.F32, weight},
		{"transposed", formats.F32, floats(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11)},
		{"counts", formats.I64, []byte{8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0}},
		{"view", formats.F32, weight[16:]},
		{"tied", formats.F32, weight},
	}
	if len(m.Tensors) != len(want) {
		t.Fatalf("%d tensors", len(m.Tensors))
	}
	for i, w := range want {
		tensor := &m.Tensors[i]
		r, err := tensor.Reader()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || tensor.Name != w.name || tensor.DType != w.dtype || !bytes.Equal(got, w.data) {
			t.Errorf("%s %v: %x, %v", tensor.Name, tensor.DType, got, err)
		}
	}
}

func TestTarConformance(t *testing.T) {
	formatstest.Run(t, pytorch.Decoder{}, []formatstest.Case{{Name: "tar01", Data: tar01(t), Header: 80, Tensors: 5}})
}
