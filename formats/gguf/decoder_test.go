package gguf

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/file"
	"weightwarden/formats/formatstest"
	"weightwarden/internal/fixtures"
)

var keys = []formatstest.GGUFKey{
	{Key: "general.architecture", Value: "llama"}, {Key: "llama.block_count", Value: uint32(2)},
	{Key: "tokens", Value: []string{"<s>", "a", "b"}}, {Key: "scores", Value: []float32{1, 2, 3}},
	{Key: "nested", Value: []any{1, 2}},
}

func arrays() []formatstest.Array {
	return []formatstest.Array{
		formatstest.Counting("blk.0.w", formats.F32, 1, 3, 4), formatstest.Counting("blk.0.q", formats.Q4_K, 5, 2, 256),
		formatstest.Counting("norm", formats.F16, 7, 5),
	}
}

func corpus() []formatstest.Case {
	plain := arrays()
	plain[1] = formatstest.Counting("blk.0.b", formats.BF16, 5, 2, 2, 8)
	var out []formatstest.Case
	for _, c := range []struct {
		name string
		g    formatstest.GGUF
	}{
		{"v1", formatstest.GGUF{Version: 1, Keys: keys, Arrays: arrays()}},
		{"v2", formatstest.GGUF{Version: 2, Keys: keys[:2], Arrays: arrays()}},
		{"v3", formatstest.GGUF{Version: 3, Keys: keys, Arrays: arrays()}},
		{"v3-be", formatstest.GGUF{Version: 3, Keys: keys[:1], Arrays: plain, BigEndian: true}},
		{"v3-fugg", formatstest.GGUF{Version: 3, Keys: keys[:1], Arrays: plain, BigEndian: true, Magic: "FUGG"}},
	} {
		data := c.g.Bytes()
		out = append(out, formatstest.Case{Name: c.name, Data: data, Tensors: 3, Header: 600})
	}
	return out
}

func TestConformance(t *testing.T) { formatstest.Run(t, Decoder{}, corpus()) }

func FuzzDecoder(f *testing.F) {
	for _, path := range fixtures.Glob(f, "models/*.gguf") {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), 4<<10)])
	}
	formatstest.Fuzz(f, Decoder{}, corpus())
}

func TestReadsWhatTheReferenceReads(t *testing.T) {
	paths := append(fixtures.Glob(t, "models/*.gguf"), fixtures.Glob(t, "fixtures/gguf/*.gguf")...)
	paths = append(paths, fixtures.Glob(t, "fixtures/gguf/*/*.gguf")...)
	for _, path := range paths {
		if strings.Contains(path, "-00001-of-") {
			continue // joins the others, in TestRealSplit
		}
		t.Run(path[strings.LastIndexByte(path, '/')+1:], func(t *testing.T) { formatstest.Expect(t, Decoder{}, path) })
	}
}

func TestRealSplit(t *testing.T) {
	var names [2][]string
	for i, pattern := range []string{"set-00001-of-*.gguf", "set-0000[23]-of-*.gguf"} {
		for _, path := range fixtures.Glob(t, "fixtures/gguf/split/"+pattern) {
			src, err := file.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			m, err := formatstest.Check(t, Decoder{}, src, formats.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range m.Tensors {
				names[i] = append(names[i], x.Name)
			}
			src.Close()
		}
	}
	if len(names[0]) == 0 || !slices.Equal(names[0], names[1]) {
		t.Errorf("the first part leads to %v, the others have %v", names[0], names[1])
	}
}

func TestVersionsAndByteOrders(t *testing.T) {
	for _, big := range []bool{false, true} {
		for _, version := range []uint32{1, 2, 3} {
			a := []formatstest.Array{formatstest.Counting("a", formats.F32, 1, 3, 4),
				formatstest.Counting("b", formats.I64, 4, 2), formatstest.Counting("c", formats.I8, 4, 7)}
			src := formats.BytesSource(formatstest.GGUF{Version: version, BigEndian: big, Keys: keys, Arrays: a}.Bytes())
			m, err := formatstest.Check(t, Decoder{}, src, formats.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			formatstest.Same(t, m, a)
			if len(m.Findings) != 0 {
				t.Errorf("version %d: findings %v", version, m.Findings)
			}
			want := []string{"llama", "2", `string[3]{"<s>" "a" "b"}`, "f32[3]{0 1e-45 3e-45}"}
			for i, w := range want {
				if got := m.Metadata[i].Value; got != w {
					t.Errorf("metadata %q = %q, want %q", m.Metadata[i].Key, got, w)
				}
			}
		}
	}
}

func TestEveryType(t *testing.T) {
	var a []formatstest.Array
	for id := range uint32(43) {
		if d, ok := formats.GGML(id); ok {
			n, _ := d.Block()
			a = append(a, formatstest.Counting(d.String(), d, byte(id), 2, n))
		}
	}
	src := formats.BytesSource(formatstest.GGUF{Version: 3, Arrays: a}.Bytes())
	m, err := formatstest.Check(t, Decoder{}, src, formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	formatstest.Same(t, m, a)
	if len(a) != 41 || len(m.Findings) != 0 {
		t.Errorf("%d types, findings %v", len(a), m.Findings)
	}
}

func decodeFindings(t *testing.T, g formatstest.GGUF) (*formats.Model, string) {
	t.Helper()
	m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(g.Bytes()), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, f := range m.Findings {
		if c := strings.TrimPrefix(f.Code, "gguf."); !slices.Contains(codes, c) {
			codes = append(codes, c)
		}
	}
	return m, strings.Join(codes, " ")
}

func TestOddFiles(t *testing.T) {
	one := formatstest.Counting("a", formats.F32, 1, 8)
	opaque := formatstest.Array{Name: "b", DType: formats.Unknown, Shape: []int64{64}, Data: make([]byte, 64)}
	ragged := formatstest.Array{Name: "r", DType: formats.Q4_0, Shape: []int64{31}, Data: make([]byte, 32)}
	wrap := formatstest.Array{Name: "w", DType: formats.F32, Shape: []int64{1 << 40, 1 << 40}, Data: make([]byte, 32)}
	for _, c := range []struct {
		name  string
		g     formatstest.GGUF
		codes string
	}{
		{"unknown type", formatstest.GGUF{Version: 3, Arrays: []formatstest.Array{opaque, one}}, "type"},
		{"ragged rows", formatstest.GGUF{Version: 3, Arrays: []formatstest.Array{ragged, one}}, "shape"},
		{"shape overflow", formatstest.GGUF{Version: 3, Arrays: []formatstest.Array{wrap, one}}, "shape"},
		{"duplicate name", formatstest.GGUF{Version: 3, Arrays: []formatstest.Array{one, one}}, "duplicate"},
		{"duplicate key", formatstest.GGUF{Version: 3, Arrays: []formatstest.Array{one}, Keys: append(keys[:1:1], keys[0])}, "key"},
		{"alignment 0", formatstest.GGUF{Version: 3, Arrays: []formatstest.Array{one},
			Keys: []formatstest.GGUFKey{{Key: "general.alignment", Value: uint32(0)}}}, "alignment"},
		{"alignment of a wrong type", formatstest.GGUF{Version: 3, Arrays: []formatstest.Array{one},
			Keys: []formatstest.GGUFKey{{Key: "general.alignment", Value: "x"}}}, "alignment"},
		{"alignment 32 as u16", formatstest.GGUF{Version: 3, Arrays: []formatstest.Array{one},
			Keys: []formatstest.GGUFKey{{Key: "general.alignment", Value: uint16(32)}}}, "alignment"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, codes := decodeFindings(t, c.g); codes != c.codes {
				t.Errorf("findings %q, want %q", codes, c.codes)
			}
		})
	}
}

// A tensor that is cut in the middle keeps the whole rows that are there.
func TestTruncatedTensor(t *testing.T) {
	data := formatstest.GGUF{Version: 3, Arrays: arrays()[:1]}.Bytes()
	m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(data[:len(data)-5]), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Tensors[0]; got.DType != formats.F32 || got.Data.Length != 32 || got.Shape[0] != 2 || m.Findings[0].Severity != formats.Unread {
		t.Errorf("%+v, findings %v", got, m.Findings)
	}
}

func TestSplits(t *testing.T) {
	part := func(no, count uint16, a ...formatstest.Array) []byte {
		return formatstest.GGUF{Version: 3, Arrays: a, Keys: []formatstest.GGUFKey{
			{Key: "split.no", Value: no}, {Key: "split.count", Value: count}, {Key: "split.tensors.count", Value: uint32(3)}}}.Bytes()
	}
	a := arrays()
	folder := formatstest.Folder{
		"other-00001-of-00003.gguf": part(0, 3, formatstest.Counting("x", formats.I8, 1, 1)),
		"m-00001-of-00003.gguf":     part(0, 3),
		"m-00002-of-00003.gguf":     part(1, 3, a[0], a[1]),
		"m-00003-of-00003.gguf":     part(2, 3, a[2]),
	}
	m, err := formatstest.Check(t, Decoder{}, folder.Source("m-00001-of-00003.gguf"), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	formatstest.Same(t, m, a)
	if len(m.Findings) != 0 || m.Tensors[0].Member != "m-00002-of-00003.gguf" {
		t.Errorf("findings %v, member %q", m.Findings, m.Tensors[0].Member)
	}
	delete(folder, "m-00003-of-00003.gguf")
	m, err = formatstest.Check(t, Decoder{}, folder.Source("m-00001-of-00003.gguf"), formats.Limits{})
	if err != nil || len(m.Tensors) != 2 || len(m.Findings) != 2 || m.Findings[0].Severity != formats.Unread {
		t.Errorf("a missing part: %+v, %v", m, err)
	}
	m, err = formatstest.Check(t, Decoder{}, folder.Source("m-00002-of-00003.gguf"), formats.Limits{})
	if err != nil || len(m.Tensors) != 2 || m.Findings[0].Severity != formats.Info {
		t.Errorf("a later part alone: %+v, %v", m, err)
	}
}

func TestErrors(t *testing.T) {
	good := corpus()[2].Data
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"no magic", []byte("GGML1234"), formats.ErrNotRecognized},
		{"version 0", []byte("GGUF\x00\x00\x00\x00"), formats.ErrUnsupported},
		{"version 4", []byte("GGUF\x04\x00\x00\x00"), formats.ErrUnsupported},
		{"four bytes", []byte("GGUF"), formats.ErrTruncated},
		{"counts cut", good[:12], formats.ErrTruncated},
		{"counts at maximum", []byte("GGUF\x03\x00\x00\x00" + strings.Repeat("\xff", 16)), formats.ErrTruncated},
	} {
		if _, err := formatstest.Check(t, Decoder{}, formats.BytesSource(c.data), formats.Limits{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func BenchmarkMillionTensors(b *testing.B) {
	one := formatstest.Counting("blk.000.ffn_down.weight", formats.I8, 0, 1)
	a := make([]formatstest.Array, 1_000_000)
	for i := range a {
		a[i] = one
	}
	src := formats.BytesSource(formatstest.GGUF{Version: 3, Arrays: a}.Bytes())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Decoder{}).Decode(b.Context(), src, formats.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
