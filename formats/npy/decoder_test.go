package npy

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/formatstest"
	"weightwarden/internal/fixtures"
)

func npyFile(version byte, header string, data []byte) []byte {
	n := len(header)
	out := append([]byte(magic), version, 0, byte(n), byte(n>>8))
	if version > 1 {
		out = append(out, byte(n>>16), byte(n>>24))
	}
	return append(append(out, header...), data...)
}

func dict(descr, order, shape string) string {
	return fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }   \n", descr, order, shape)
}

func corpus() []formatstest.Case {
	data := formatstest.Counting("", formats.F32, 1, 2, 3).Data
	one := npyFile(1, dict("<f4", "False", "(2, 3)"), data)
	return []formatstest.Case{
		{Name: "c order", Data: one, Tensors: 1},
		{Name: "fortran big-endian", Data: npyFile(3, dict(">f4", "True", "(2, 3)"), data), Tensors: 1},
		{Name: "two", Data: append(one[:len(one):len(one)], npyFile(2, dict("|u1", "False", "(3,)"), []byte{1, 2, 3})...), Tensors: 2, Open: true},
	}
}

func TestConformance(t *testing.T) { formatstest.Run(t, Decoder{}, corpus()) }

func FuzzDecoder(f *testing.F) { formatstest.Fuzz(f, Decoder{}, corpus()) }

func TestReadsWhatTheReferenceReads(t *testing.T) {
	for _, path := range fixtures.Glob(t, "fixtures/numpy/*.npy") {
		if filepath.Base(path) == "object.npy" || filepath.Base(path) == "empty.npy" {
			continue // a pickle, in TestArrays too; nothing to compare
		}
		t.Run(filepath.Base(path), func(t *testing.T) { formatstest.Expect(t, Decoder{}, path) })
	}
}

func TestArrays(t *testing.T) {
	six := []byte{1, 2, 3, 4, 5, 6}
	for _, c := range []struct {
		name, header string
		data         []byte
		want         formatstest.Array
		codes        string
	}{
		{"scalar", dict("<i2", "False", "()"), six[:2], formatstest.Array{DType: formats.I16, Data: six[:2]}, ""},
		{"fortran", dict("|u1", "True", "(2, 3)"), six, formatstest.Array{DType: formats.U8, Shape: []int64{2, 3}, Data: []byte{1, 3, 5, 2, 4, 6}}, ""},
		{"big-endian", dict(">i2", "False", "(3,)"), six, formatstest.Array{DType: formats.I16, Shape: []int64{3}, Data: []byte{2, 1, 4, 3, 6, 5}}, ""},
		{"bfloat16", dict("<V2", "False", "(3,)"), six, formatstest.Array{DType: formats.BF16, Shape: []int64{3}, Data: six}, "npy.descr"},
		{"python 2", dict("|b1", "False", "(6L,)"), six, formatstest.Array{DType: formats.Bool, Shape: []int64{6}, Data: six}, ""},
		{"objects", dict("|O", "False", "(1,)"), six, formatstest.Array{Shape: []int64{6}, Data: six}, "npy.pickle"},
		{"text", dict("<U3", "False", "(1,)"), six, formatstest.Array{Shape: []int64{6}, Data: six}, "npy.descr"},
		{"fields", "{'descr': [('a', '<f4'), ('b', ('<i2', (2,)))], 'fortran_order': False, 'shape': (1,)}", six,
			formatstest.Array{Shape: []int64{6}, Data: six}, "npy.descr"},
		{"overflow", dict("<f8", "False", "(4294967296, 4294967296)"), six, formatstest.Array{Shape: []int64{6}, Data: six}, "npy.shape"},
		{"too short", dict("<f8", "True", "(2, 2)"), six, formatstest.Array{Shape: []int64{6}, Data: six}, "npy.truncated"},
		{"extra key", "{'x': {'y': [1, (2,)]}, 'descr': '|u1', 'fortran_order': False, 'shape': (6,)}", six,
			formatstest.Array{DType: formats.U8, Shape: []int64{6}, Data: six}, "npy.key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(npyFile(1, c.header, c.data)), formats.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			formatstest.Same(t, m, []formatstest.Array{c.want})
			var codes []string
			for _, f := range m.Findings {
				codes = append(codes, f.Code)
			}
			if strings.Join(codes, " ") != c.codes {
				t.Errorf("findings %v, want %q", m.Findings, c.codes)
			}
		})
	}
}

func TestBadHeaders(t *testing.T) {
	for _, text := range []string{"", "{", "{}", "{'descr': '<f4'}", "__import__('os')", dict("<f4", "1", "(1,)"), dict("<f4", "False", "(-1,)"),
		dict("<f4", "False", "(1.5,)"), dict("<f4", "False", "(1,)") + "x", dict("<f4", "False", "("+strings.Repeat("1,", 200)+")"),
		"{'x': " + strings.Repeat("[", 10000)} {
		if m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(npyFile(1, text, nil)), formats.Limits{}); !errors.Is(err, formats.ErrMalformed) {
			t.Errorf("%.60q: %v, %v", text, m, err)
		}
	}
}

func TestHugeArray(t *testing.T) {
	const size = 100 << 30
	head := npyFile(1, dict("<f4", "True", fmt.Sprintf("(1024, %d)", size/4096)), nil)
	m, err := Decoder{}.Decode(t.Context(), formatstest.Sparse{Head: head, Bytes: int64(len(head)) + size}, formats.Limits{})
	if err != nil || len(m.Tensors) != 1 || m.Tensors[0].Data.Length != size {
		t.Errorf("%+v, %v", m, err)
	}
}
