package zarr

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/file"
	"weightwarden/formats/formatstest"
	"weightwarden/internal/fixtures"
)

// Every array that zarr wrote reads as zarr reads it.
func TestFixtures(t *testing.T) {
	for _, set := range []string{"v2", "v3", "orbax_plain"} {
		t.Run(set, func(t *testing.T) {
			top := fixtures.Path(t, "fixtures", "zarr", set)
			folders, err := os.ReadDir(top)
			if err != nil {
				t.Fatal(err)
			}
			all := &formats.Model{}
			for _, f := range folders {
				if f.IsDir() {
					all.Tensors = append(all.Tensors, decoded(t, filepath.Join(top, f.Name()))...)
				}
			}
			formatstest.ExpectModel(t, all, top)
		})
	}
}

// decoded returns the tensor of the array in a folder, named like the folder.
func decoded(t *testing.T, folder string) []formats.Tensor {
	t.Helper()
	path := filepath.Join(folder, ".zarray")
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(folder, "zarr.json")
	}
	if _, err := os.Stat(path); err != nil {
		return nil // a group
	}
	src, err := file.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	m, err := Decoder{}.Decode(t.Context(), src, formats.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", folder, err)
	}
	for _, f := range m.Findings {
		if f.Severity != formats.Info {
			t.Errorf("%s: %+v", folder, f)
		}
	}
	for i := range m.Tensors {
		m.Tensors[i].Name = filepath.Base(folder)
	}
	return m.Tensors
}

const (
	text2 = `{"zarr_format":2,"shape":[3,4],"chunks":[2,3],"dtype":"<f4","fill_value":0,"order":"C","filters":null,"compressor":%s}`
	text3 = `{"zarr_format":3,"node_type":"array","shape":[3,4],"data_type":"float32","fill_value":0.0,"chunk_grid":{"name":"regular","configuration":{"chunk_shape":[%s]}},` +
		`"chunk_key_encoding":{"name":"default","configuration":{"separator":"/"}},"codecs":[%s]}`
	shards = `{"name":"sharding_indexed","configuration":{"chunk_shape":[2,3],"codecs":[{"name":"bytes","configuration":{"endian":"little"}}],` +
		`"index_codecs":[{"name":"bytes","configuration":{"endian":"little"}},{"name":"crc32c"}],"index_location":"end"}}`
)

// counting is the array of the tests, and its chunks of 2 × 3.
func counting() (formatstest.Array, map[string][]byte) {
	a := formatstest.Counting("array", formats.F32, 4, 3, 4)
	chunks := map[string][]byte{}
	for i := range 2 {
		for j := range 2 {
			var b []byte
			for r := 2 * i; r < 2*i+2; r++ {
				for c := 3 * j; c < 3*j+3; c++ {
					if r < 3 && c < 4 {
						b = append(b, a.Data[4*(4*r+c):][:4]...)
					} else {
						b = append(b, 0, 0, 0, 0)
					}
				}
			}
			chunks[fmt.Sprintf("%d.%d", i, j)] = b
		}
	}
	return a, chunks
}

// oneShard joins the chunks with their table, as zarr does.
func oneShard() []byte {
	_, chunks := counting()
	var data, table []byte
	for _, key := range []string{"0.0", "0.1", "1.0", "1.1"} {
		table = binary.LittleEndian.AppendUint64(table, uint64(len(data)))
		table = binary.LittleEndian.AppendUint64(table, uint64(len(chunks[key])))
		data = append(data, chunks[key]...)
	}
	table = binary.LittleEndian.AppendUint32(table, crc32.Checksum(table, crc32.MakeTable(crc32.Castagnoli)))
	return append(data, table...)
}

func folders() (v2, v3, sharded formatstest.Folder) {
	_, chunks := counting()
	v2, v3 = formatstest.Folder{}, formatstest.Folder{}
	for key, b := range chunks {
		v2[key] = b
		v3["c/"+strings.ReplaceAll(key, ".", "/")] = b
	}
	return v2, v3, formatstest.Folder{"c/0/0": oneShard()}
}

func corpus() []formatstest.Case {
	v2, v3, sharded := folders()
	return []formatstest.Case{
		{Name: "v2", Data: fmt.Appendf(nil, text2, "null"), Folder: v2, Tensors: 1},
		{Name: "v3", Data: fmt.Appendf(nil, text3, "2,3", `{"name":"bytes","configuration":{"endian":"little"}}`), Folder: v3, Tensors: 1},
		{Name: "shards", Data: fmt.Appendf(nil, text3, "4,6", shards), Folder: sharded, Tensors: 1},
	}
}

func TestConformance(t *testing.T) { formatstest.Run(t, Decoder{}, corpus()) }

func FuzzDecoder(f *testing.F) { formatstest.Fuzz(f, Decoder{}, corpus()) }

// onShard reads the bytes as the only shard of an array.
type onShard struct{ Decoder }

func (d onShard) Sniff([]byte) bool { return true }

func (d onShard) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	if src.Size() == 0 {
		return nil, formats.Errorf(ID, "shard", 0, formats.ErrTruncated, "nothing")
	}
	m := &formats.Model{Format: ID}
	limits = limits.OrDefault()
	chunks := func(string) (formats.Extent, error) { return formats.Extent{Source: src, Length: src.Size()}, nil }
	if err := Add(ctx, m, formats.Cut("array", limits.NameBytes), fmt.Appendf(nil, text3, "4,6", shards), chunks, limits, NewBudget(limits)); err != nil {
		return nil, &formats.Error{Format: ID, Field: "shard", Offset: -1, Err: err}
	}
	return m, nil
}

func shardCorpus() []formatstest.Case {
	return []formatstest.Case{{Name: "shard", Data: oneShard(), Tensors: 1}}
}

func TestShardConformance(t *testing.T) {
	m, err := onShard{}.Decode(t.Context(), formats.BytesSource(oneShard()), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := counting()
	formatstest.Same(t, m, []formatstest.Array{a})
	formatstest.Run(t, onShard{}, shardCorpus())
}

func FuzzShard(f *testing.F) { formatstest.Fuzz(f, onShard{}, shardCorpus()) }

// FuzzCodecs unpacks chunks of every codec.
func FuzzCodecs(f *testing.F) {
	names := []string{"blosc", "zstd", "gzip", "zlib", "bz2", "crc32c"}
	for i, folder := range []string{"v2/lz4", "v2/lz4hc", "v2/blosczlib", "v2/blosczstd", "v2/zstd", "v2/gzip", "v2/zlib", "v2/bz2"} {
		for _, path := range fixtures.Glob(f, "fixtures/zarr/"+folder+"/*0*0") {
			b, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(byte(max(0, i-3)%len(names)), b)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		const limit = 1 << 20
		out, err := codec{names[int(which)%len(names)]}.undo(b, limit)
		if len(out) > max(limit+64, len(b)) || out != nil && err != nil {
			t.Errorf("%d bytes, %v", len(out), err)
		}
	})
}

func TestArrays(t *testing.T) {
	v2 := fmt.Sprintf(text2, "null")
	for _, c := range []struct {
		name, text string
		change     func(formatstest.Folder)
		tensors    int
		finding    string
	}{
		{"good", v2, nil, 1, ""},
		{"a chunk is gone", v2, func(d formatstest.Folder) { delete(d, "1.1") }, 1, "zarr.fill info"},
		{"a chunk is gone that is not zero", strings.Replace(v2, `"fill_value":0`, `"fill_value":"NaN"`, 1), func(d formatstest.Folder) { delete(d, "1.1") }, 1, "zarr.fill warning"},
		{"no chunk", v2, func(d formatstest.Folder) { clear(d) }, 1, "zarr.fill info"},
		{"no chunk of much", strings.Replace(v2, `[3,4]`, `[300,4000]`, 1), func(d formatstest.Folder) { clear(d) }, 1, "zarr.array unread"}, // too many to look for
		{"no chunk of as much", strings.NewReplacer(`[3,4]`, `[300,4000]`, `[2,3]`, `[300,4000]`).Replace(v2), func(d formatstest.Folder) { clear(d) }, 0, "zarr.empty info"},
		{"a chunk is short", v2, func(d formatstest.Folder) { d["0.1"] = d["0.1"][:5] }, 1, "zarr.array unread"},
		{"unknown codec", fmt.Sprintf(text2, `{"id":"lzma"}`), nil, 1, "zarr.array unread"},
		{"what is no zstd", fmt.Sprintf(text2, `{"id":"zstd"}`), nil, 1, ""}, // seen when it is read
		{"far too large", strings.Replace(v2, `[3,4]`, `[3000000000,4000]`, 1), nil, 1, "zarr.array unread"},
		{"more than can be counted", strings.Replace(v2, `[3,4]`, `[4611686018427387904,4611686018427387904]`, 1), nil, 1, "zarr.array unread"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _, _ := folders()
			if c.change != nil {
				c.change(dir)
			}
			dir[".zarray"] = []byte(c.text)
			m, err := formatstest.Check(t, Decoder{}, dir.Source(".zarray"), formats.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(m.Findings) > 0 {
				got = m.Findings[0].Code + " " + string(m.Findings[0].Severity)
			}
			if len(m.Tensors) != c.tensors || got != c.finding {
				t.Errorf("%d tensors, findings %v; want %q", len(m.Tensors), m.Findings, c.finding)
			}
			if c.name == "good" {
				a, _ := counting()
				formatstest.Same(t, m, []formatstest.Array{a})
			}
		})
	}
}

func TestOtherJSON(t *testing.T) {
	for _, text := range []string{`{}`, `{"zarr_format":2}`, `{"zarr_format":3,"node_type":"group"}`, `{"zarr_format":7,"shape":[1],"chunks":[1],"dtype":"<f4"}`} {
		if m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(text), formats.Limits{}); !errors.Is(err, formats.ErrNotRecognized) {
			t.Errorf("%s: %v, %v", text, m, err)
		}
	}
	for text, want := range map[string]error{
		strings.Replace(fmt.Sprintf(text2, "null"), `"<f4"`, `[["a","<f4"]]`, 1):                            formats.ErrUnsupported,
		strings.Replace(fmt.Sprintf(text2, "null"), `"chunks":[2,3]`, `"chunks":[0,3]`, 1):                  formats.ErrMalformed,
		strings.Replace(fmt.Sprintf(text2, "null"), `"chunks":[2,3]`, `"chunks":[2]`, 1):                    formats.ErrMalformed,
		strings.Replace(fmt.Sprintf(text3, "4,6", shards), `"chunk_shape":[2,3]`, `"chunk_shape":[3,3]`, 1): formats.ErrMalformed,
		strings.Replace(fmt.Sprintf(text3, "2,3", ""), `"regular"`, `"rectilinear"`, 1):                     formats.ErrUnsupported,
		fmt.Sprintf(text3, "2,3", `{"name":"transpose","configuration":{"order":[1,1]}}`):                   formats.ErrUnsupported,
	} {
		if m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(text), formats.Limits{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, %v", text, m, err)
		}
	}
}

// The files of a database begin with metadata too, and are no array.
func TestMetadataBeforeOtherThings(t *testing.T) {
	for _, n := range []int{1, 2 * MaxMetadata} {
		data := append(fmt.Appendf(nil, text2, "null"), make([]byte, n)...)
		if m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(data), formats.Limits{}); !errors.Is(err, formats.ErrNotRecognized) {
			t.Errorf("%d bytes behind: %v, %v", n, m, err)
		}
	}
	data := append(fmt.Appendf(nil, text2, "null"), bytes.Repeat([]byte(" "), 2*MaxMetadata)...)
	if m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(data), formats.Limits{}); !errors.Is(err, formats.ErrLimit) {
		t.Errorf("white space behind: %v, %v", m, err)
	}
}
