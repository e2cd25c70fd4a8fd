package sharded

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/formatstest"
	"weightwarden/formats/safetensors"
	"weightwarden/internal/fixtures"
)

var decoder = Decoder{Shards: []formats.Decoder{safetensors.Decoder{}}}

func arrays() []formatstest.Array {
	return []formatstest.Array{formatstest.Counting("a", formats.F32, 1, 2), formatstest.Counting("b", formats.F16, 2, 3),
		formatstest.Counting("c", formats.U8, 3, 4)}
}

func folder() formatstest.Folder {
	a := arrays()
	return formatstest.Folder{"1.safetensors": formatstest.Safetensors(a[:2]...), "2.safetensors": formatstest.Safetensors(a[2])}
}

const index = `{"metadata":{"total_size":18,"by":"test","x":1.5},"weight_map":{"a":"1.safetensors","b":"1.safetensors","c":"2.safetensors"}}`

func corpus() []formatstest.Case {
	return []formatstest.Case{{Name: "index", Data: []byte(index), Folder: folder(), Tensors: 3}}
}

func TestConformance(t *testing.T) { formatstest.Run(t, decoder, corpus()) }

func FuzzDecoder(f *testing.F) { formatstest.Fuzz(f, decoder, corpus()) }

func TestReadsWhatTheReferenceReads(t *testing.T) {
	for _, path := range fixtures.Glob(t, "fixtures/safetensors/sharded/*.index.json") {
		if _, err := os.Stat(path + ".expect.json"); err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(path), func(t *testing.T) { formatstest.Expect(t, decoder, path) })
	}
}

func TestIndexes(t *testing.T) {
	for _, c := range []struct {
		name, index string
		tensors     int
		codes       string
		severity    formats.Severity
	}{
		{"good", index, 3, "", ""},
		{"a shard is gone", strings.Replace(index, "2.safe", "3.safe", 1), 2, "shard", formats.Unread},
		{"a tensor is not there", strings.Replace(index, `"c"`, `"d"`, 1), 3, "extra missing", formats.Warning},
		{"a tensor is elsewhere", strings.Replace(index, `"b":"1`, `"b":"2`, 1), 3, "moved", formats.Warning},
		{"twice", strings.Replace(index, `"b":`, `"a":"1.safetensors","b":`, 1), 3, "duplicate", formats.Warning},
		{"a way out", strings.Replace(index, "2.safe", "../2.safe", 1), 2, "name", formats.Danger},
		{"absolute", strings.Replace(index, "2.safe", "/2.safe", 1), 2, "name", formats.Danger},
		{"back-slash", strings.Replace(index, "2.safe", `..\\2.safe`, 1), 2, "name", formats.Danger},
		{"cut", index[:len(index)-20], 2, "index", formats.Unread},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := folder()
			dir["i.json"] = []byte(c.index)
			m, err := formatstest.Check(t, decoder, dir.Source("i.json"), formats.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var codes []string
			for _, f := range m.Findings {
				codes = append(codes, strings.TrimPrefix(f.Code, "sharded."))
			}
			slices.Sort(codes)
			want := strings.Fields(c.codes)
			slices.Sort(want)
			if !slices.Equal(slices.Compact(codes), want) || len(m.Tensors) != c.tensors ||
				c.severity != "" && m.Findings[0].Severity != c.severity {
				t.Errorf("%d tensors, findings %v; want %d, %q", len(m.Tensors), m.Findings, c.tensors, c.codes)
			}
			if c.codes == "" {
				formatstest.Same(t, m, arrays())
				if m.Format != "safetensors" || m.Variant != "sharded" || len(m.Metadata) != 2 {
					t.Errorf("format %q %q, metadata %v", m.Format, m.Variant, m.Metadata)
				}
			}
		})
	}
}

func TestOtherJSON(t *testing.T) {
	for _, text := range []string{`{}`, `{"metadata":{}}`, `{"weight_map":3}`, `{"weight_map":`, `[1]`, ``, `{"metadata`} {
		if m, err := formatstest.Check(t, decoder, formats.BytesSource(text), formats.Limits{}); !errors.Is(err, formats.ErrNotRecognized) {
			t.Errorf("%q: %v, %v", text, m, err)
		}
	}
}
