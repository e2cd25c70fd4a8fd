package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/formatstest"
	"weightwarden/internal/fixtures"
)

type proto = formatstest.Proto

// onnxType is the number of a type in onnx.proto.
func onnxType(d formats.DType) uint64 {
	return uint64(slices.IndexFunc(dataTypes[:], func(t dataType) bool { return t.dtype == d && d != formats.Unknown }))
}

func head(name string, d formats.DType, shape ...int64) proto {
	var p proto
	for _, n := range shape {
		p = p.Varint(1, uint64(n))
	}
	return p.Varint(2, onnxType(d)).Text(8, name)
}

func raw(a formatstest.Array) proto {
	return head(a.Name, a.DType, a.Shape...).Bytes(9, a.Data)
}

func outside(a formatstest.Array, file string, offset int) proto {
	entry := func(k, v string) proto { return proto{}.Text(1, k).Text(2, v) }
	return head(a.Name, a.DType, a.Shape...).Varint(14, 1).Bytes(13, entry("location", file)).
		Bytes(13, entry("offset", strconv.Itoa(offset))).Bytes(13, entry("length", strconv.Itoa(len(a.Data))))
}

// node is a node of one attribute.
func node(output string, attribute proto) proto {
	return proto{}.Text(2, output).Text(4, "Constant").Bytes(5, attribute)
}

func model(graph proto) []byte {
	return proto{}.Varint(1, 8).Text(2, "test").Bytes(7, graph).Bytes(8, proto{}.Varint(2, 17))
}

func arrays() []formatstest.Array {
	return []formatstest.Array{
		formatstest.Counting("fc.weight", formats.F32, 1, 3, 4), formatstest.Counting("half", formats.F16, 5, 2, 5),
		formatstest.Counting("nibbles", formats.I4, 7, 6), formatstest.Counting("scalar", formats.I64, 9),
	}
}

func everyPlace() []byte {
	a := arrays()
	unnamed := a[1]
	unnamed.Name = ""
	inner := proto{}.Bytes(1, node("inner", proto{}.Text(1, "value").Bytes(5, raw(unnamed)))).Bytes(5, raw(a[0]))
	graph := proto{}.Bytes(1, node("if", proto{}.Text(1, "then_branch").Bytes(6, inner))).
		Bytes(1, node("list", proto{}.Text(1, "tensors").Bytes(10, raw(a[2])).Bytes(10, raw(a[3])))).
		Bytes(15, proto{}.Bytes(1, raw(formatstest.Counting("sparse", formats.F32, 2, 3))).
			Bytes(2, raw(formatstest.Counting("", formats.I64, 2, 3))).Varint(3, 100)).
		Bytes(5, raw(a[0])).Text(2, "main")
	function := proto{}.Text(1, "f").Bytes(7, node("inf", proto{}.Bytes(5, raw(unnamed))))
	return proto(model(graph)).Bytes(25, function).Bytes(20, proto{}.Bytes(1, proto{}.Bytes(5, raw(a[1])))).
		Bytes(14, proto{}.Text(1, "key").Text(2, "value"))
}

func corpus() []formatstest.Case {
	a := arrays()
	folder := formatstest.Folder{"w.bin": append(make([]byte, 64), a[0].Data...)}
	typed := proto{}.Bytes(5, head("f", formats.F32, 2).Bytes(4, make([]byte, 8))).
		Bytes(5, head("h", formats.F16, 3).Packed(5, 0x3c00, 0, 0xffff)).
		Bytes(5, head("l", formats.I64, 2).Varint(7, 1).Varint(7, 300)).
		Bytes(5, head("d", formats.F64, 1).Fixed64(10, 5)).Text(2, "g")
	return []formatstest.Case{
		{Name: "places", Data: everyPlace(), Tensors: 9, Open: true},
		{Name: "typed", Data: model(typed), Tensors: 4},
		{Name: "external", Data: model(proto{}.Bytes(5, outside(a[0], "w.bin", 64)).Bytes(5, raw(a[1]))), Folder: folder, Tensors: 2},
	}
}

func TestConformance(t *testing.T) { formatstest.Run(t, Decoder{}, corpus()) }

func FuzzDecoder(f *testing.F) { formatstest.Fuzz(f, Decoder{}, corpus()) }

func TestReadsWhatTheReferenceReads(t *testing.T) {
	paths := append(fixtures.Glob(t, "models/*.onnx"), fixtures.Glob(t, "fixtures/onnx/*.onnx")...)
	paths = append(paths, fixtures.Glob(t, "fixtures/onnx/*/*.onnx")...)
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { formatstest.ExpectAmong(t, Decoder{}, path) })
	}
}

func names(m *formats.Model) string {
	var out []string
	for _, t := range m.Tensors {
		out = append(out, t.Name)
	}
	return strings.Join(out, " ")
}

func TestFindsTensorsEverywhere(t *testing.T) {
	m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(everyPlace()), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	const want = "inner fc.weight nibbles scalar sparse sparse.indices fc.weight inf half"
	if got := names(m); got != want || len(m.Findings) != 0 {
		t.Errorf("tensors %q, want %q; findings %v", got, want, m.Findings)
	}
	meta := []formats.KeyValue{{Key: "ir_version", Value: "8"}, {Key: "producer_name", Value: "test"},
		{Key: "opset_import ai.onnx", Value: "17"}, {Key: "key", Value: "value"}}
	if !slices.Equal(m.Metadata, meta) {
		t.Errorf("metadata %v", m.Metadata)
	}
}

// Typed data of every type and way of writing reads as the same bytes as raw data.
func TestTypedData(t *testing.T) {
	for id, dt := range dataTypes {
		if dt.dtype == formats.Unknown {
			continue
		}
		a := formatstest.Counting("t", dt.dtype, byte(id*7), 8)
		if dt.field == int64Data {
			a.Data[7] = 0xff // a negative number
		}
		for way, data := range map[string]proto{"packed": typed(dt, a, 1<<30, true), "pieces": typed(dt, a, 3, true), "alone": typed(dt, a, 1, false)} {
			t.Run(fmt.Sprint(dt.dtype, "/", way), func(t *testing.T) {
				p := head("t", dt.dtype, a.Shape...).Join(data)
				m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(model(proto{}.Bytes(5, p))), formats.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				formatstest.Same(t, m, []formatstest.Array{a})
				if len(m.Findings) != 0 {
					t.Errorf("findings %v", m.Findings)
				}
			})
		}
	}
}

// typed writes the numbers of a in the field of its type, piece numbers at a time.
func typed(dt dataType, a formatstest.Array, piece int, packed bool) proto {
	var out proto
	for b := a.Data; len(b) > 0; {
		var part proto
		n := min(len(b), piece*int(dt.bytes))
		for i := 0; i < n; i += int(dt.bytes) {
			var word [8]byte
			copy(word[:], b[i:i+int(dt.bytes)])
			v := binary.LittleEndian.Uint64(word[:])
			switch {
			case dt.field == floatData && packed, dt.field == doubleData && packed:
				part = append(part, b[i:i+int(dt.bytes)]...)
			case dt.field == floatData:
				out = out.Fixed32(int(dt.field), uint32(v))
			case dt.field == doubleData:
				out = out.Fixed64(int(dt.field), v)
			case packed:
				part = binary.AppendUvarint(part, v)
			default:
				out = out.Varint(int(dt.field), v)
			}
		}
		if packed {
			out = out.Bytes(int(dt.field), part)
		}
		b = b[n:]
	}
	return out
}

// A long list of numbers of variable length reads the same from any offset.
func TestRepackedRandomAccess(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 5*(1<<14) + 77
	want := make([]byte, 0, 8*n)
	var packed, alone proto
	for range n {
		v := rng.Uint64() >> rng.UintN(64)
		want = binary.LittleEndian.AppendUint64(want, v)
		packed = binary.AppendUvarint(packed, v)
		alone = alone.Varint(7, v)
	}
	for name, p := range map[string]proto{"packed": proto{}.Bytes(7, packed), "alone": alone} {
		m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(model(proto{}.Bytes(5, head("t", formats.I64, n).Join(p)))), formats.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		formatstest.Same(t, m, []formatstest.Array{{Name: "t", DType: formats.I64, Shape: []int64{n}, Data: want}})
		for range 40 {
			off := rng.IntN(len(want))
			got := make([]byte, rng.IntN(min(len(want)-off, 150000)+1))
			if k, err := m.Tensors[0].Data.Source.ReadAt(got, int64(off)); err != nil || !slices.Equal(got, want[off:off+k]) {
				t.Fatalf("%s: read %d at %d: %d, %v", name, len(got), off, k, err)
			}
		}
	}
}

func TestExternalData(t *testing.T) {
	a := arrays()[0]
	folder := formatstest.Folder{"w.bin": append(make([]byte, 64), a.Data...)}
	check := func(file string, offset int) *formats.Model {
		folder["m.onnx"] = model(proto{}.Bytes(5, outside(a, file, offset)))
		m, err := formatstest.Check(t, Decoder{}, folder.Source("m.onnx"), formats.Limits{})
		if err != nil {
			// A model of nothing but unreachable tensors has to be recognised too.
			t.Fatalf("%q: %v", file, err)
		}
		return m
	}
	for _, file := range []string{"w.bin", "./w.bin"} {
		m := check(file, 64)
		formatstest.Same(t, m, []formatstest.Array{a})
		if len(m.Findings) != 0 || m.Tensors[0].Member != "w.bin" {
			t.Errorf("findings %v, member %q", m.Findings, m.Tensors[0].Member)
		}
	}
	for file, severity := range map[string]formats.Severity{"../w.bin": formats.Danger, "/etc/passwd": formats.Danger,
		"a/../../w.bin": formats.Danger, "a/../w.bin": formats.Danger, `..\w.bin`: formats.Danger, "": formats.Danger,
		"w.bin\x00": formats.Danger, "*/_ORT_MEM_ADDR_/*": formats.Unread, "none": formats.Unread} {
		m := check(file, 64)
		if len(m.Tensors) != 1 || m.Tensors[0].Data.Source != nil || len(m.Findings) != 1 || m.Findings[0].Severity != severity {
			t.Errorf("%q: %+v", file, m)
		}
	}
	for _, offset := range []int{65, 1 << 40, 1<<63 - 1, -1} {
		m := check("w.bin", offset)
		if len(m.Findings) == 0 || m.Findings[0].Severity != formats.Unread {
			t.Errorf("offset %d: %+v", offset, m)
		}
	}
}

func TestOddModels(t *testing.T) {
	a := arrays()[0]
	good := raw(a)
	deep := good
	graph := proto{}.Bytes(5, deep)
	for range 100 {
		graph = proto{}.Bytes(1, node("n", proto{}.Bytes(6, graph)))
	}
	late := proto{}.Bytes(9, a.Data).Text(8, a.Name).Packed(1, 3, 4).Varint(2, 1)
	for _, c := range []struct {
		name    string
		data    []byte
		tensors string
		codes   string
	}{
		{"fields in another order", model(proto{}.Bytes(5, late)), "fc.weight", ""},
		{"raw data twice", model(proto{}.Bytes(5, good.Bytes(9, a.Data))), "fc.weight", "raw_data"},
		{"raw and typed", model(proto{}.Bytes(5, good.Bytes(4, a.Data))), "fc.weight", "raw_data"},
		{"too little data", model(proto{}.Bytes(5, head("s", formats.F32, 9).Bytes(9, make([]byte, 8))).Bytes(5, good)), "s fc.weight", "size"},
		{"negative dimension", model(proto{}.Bytes(5, head("s", formats.F32, -1).Bytes(9, make([]byte, 8))).Bytes(5, good)), "s fc.weight", "size"},
		{"dimensions overflow", model(proto{}.Bytes(5, head("s", formats.F32, 1<<40, 1<<40).Bytes(9, make([]byte, 8))).Bytes(5, good)), "s fc.weight", "size"},
		{"broken message between", model(proto{}.Bytes(5, []byte{0x07}).Bytes(5, good)), "fc.weight", "message"},
		{"deep graphs", model(graph.Bytes(5, good)), "fc.weight", "depth"},
		{"group", append(proto{0x83, 0x01, 0x08, 0x01, 0x84, 0x01}, model(proto{}.Bytes(5, good))...), "fc.weight", ""},
		{"unknown field in front", append(proto{}.Bytes(1000, make([]byte, 1<<17)), model(proto{}.Bytes(5, good))...), "fc.weight", "unknown"},
		{"garbage behind", append(model(proto{}.Bytes(5, good)), 0xff, 0xff), "fc.weight", "message"},
		{"text tensor", model(proto{}.Bytes(5, proto{}.Varint(2, 8).Text(6, "abc")).Bytes(5, good)), "fc.weight", "strings"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !(Decoder{}).Sniff(c.data[:min(len(c.data), formats.HeadBytes)]) {
				t.Error("Sniff misses it")
			}
			m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(c.data), formats.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var codes []string
			for _, f := range m.Findings {
				codes = append(codes, strings.TrimPrefix(f.Code, "onnx."))
			}
			if names(m) != c.tensors || strings.Join(codes, " ") != c.codes {
				t.Errorf("tensors %q, findings %v; want %q, %q", names(m), m.Findings, c.tensors, c.codes)
			}
		})
	}
}

// What is no ONNX model ends in ErrNotRecognized, whatever Sniff said.
func TestOtherFilesAreNotRecognised(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	claimed := 0
	for range 4000 {
		b := make([]byte, 1+rng.IntN(5000))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if (Decoder{}).Sniff(b[:min(len(b), formats.HeadBytes)]) {
			claimed++
		}
		if m, err := (Decoder{}).Decode(t.Context(), formats.BytesSource(b), formats.Limits{}); !errors.Is(err, formats.ErrNotRecognized) {
			t.Fatalf("random bytes: %+v, %v", m, err)
		}
	}
	t.Logf("Sniff claims %.1f %% of random files", float64(claimed)/40)
	if claimed > 800 {
		t.Errorf("Sniff claims %d of 4000 random files", claimed)
	}
	for _, pattern := range []string{"models/*.gguf", "models/*.safetensors", "models/*.pt", "models/*.json", "gen/*.py"} {
		for _, path := range fixtures.Glob(t, pattern) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if m, err := (Decoder{}).Decode(t.Context(), formats.BytesSource(b), formats.Limits{}); !errors.Is(err, formats.ErrNotRecognized) {
				t.Errorf("%s: %+v, %v", path, m, err)
			}
		}
	}
}

func TestHugeModelIsPassedOver(t *testing.T) {
	const size = 100 << 30
	tensor := append(head("big", formats.F32, size/4), 9<<3|2)
	tensor = binary.AppendUvarint(tensor, size)
	graph := binary.AppendUvarint(proto{5<<3 | 2}, uint64(len(tensor))+size)
	start := append(proto{}.Varint(1, 8).Text(2, "t"), 7<<3|2)
	start = binary.AppendUvarint(start, uint64(len(graph)+len(tensor))+size)
	start = slices.Concat(start, graph, tensor)
	src := formatstest.Sparse{Head: start, Bytes: int64(len(start)) + size}
	m, err := Decoder{}.Decode(t.Context(), src, formats.Limits{})
	if err != nil || len(m.Tensors) != 1 || m.Tensors[0].Data.Length != size || len(m.Findings) != 0 {
		t.Errorf("%+v, %v", m, err)
	}
}
