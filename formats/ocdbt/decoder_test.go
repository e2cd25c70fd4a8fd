package ocdbt

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/file"
	"weightwarden/formats/formatstest"
	"weightwarden/internal/fixtures"
)

// What Orbax and TensorStore wrote reads as they read it: the last version of a tree
// with inner nodes, checkpoints that were merged out of those of processes.
func TestFixtures(t *testing.T) {
	for _, name := range []string{"ocdbt", "numbered", "orbax_v2", "orbax_v3"} {
		t.Run(name, func(t *testing.T) {
			top := fixtures.Path(t, "fixtures", "zarr", name)
			src, err := file.Open(filepath.Join(top, "manifest.ocdbt"))
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			m, err := Decoder{}.Decode(t.Context(), src, formats.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			formatstest.ExpectModel(t, m, top)
			for _, f := range m.Findings {
				if f.Severity != formats.Info {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// tree writes small databases.
type tree struct {
	file []byte
	far  map[string]ref // values that are not in the bytes of file
}

func number(b []byte, v ...uint64) []byte {
	for _, x := range v {
		b = binary.AppendUvarint(b, x)
	}
	return b
}

func framed(magic uint32, text []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, magic)
	b = binary.LittleEndian.AppendUint64(b, uint64(headBytes+len(text)+tailBytes))
	b = append(append(b, 0, 0), text...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// put appends bytes to the file and says where they are.
func (w *tree) put(b []byte) (offset, length uint64) {
	offset = uint64(len(w.file))
	w.file = append(w.file, b...)
	return offset, uint64(len(b))
}

// theFile is a table of the one file d/x below a base.
func theFile(base string) []byte {
	return append(number(nil, 1, uint64(len(base)+3), uint64(len(base))), base+"d/x"...)
}

// leaf writes a node of keys, of which those of over 40 bytes lie outside of it.
func (w *tree) leaf(keys []string, values map[string][]byte) (offset, length uint64) {
	slices.Sort(keys)
	b := number(append([]byte{0}, theFile("")...), uint64(len(keys)))
	shared := func(i int) int {
		n := 0
		for i > 0 && n < len(keys[i]) && n < len(keys[i-1]) && keys[i][n] == keys[i-1][n] {
			n++
		}
		return n
	}
	for i := range keys[1:] {
		b = number(b, uint64(shared(i+1)))
	}
	for i := range keys {
		b = number(b, uint64(len(keys[i])-shared(i)))
	}
	for i := range keys {
		b = append(b, keys[i][shared(i):]...)
	}
	var ids, offsets, kinds, inline []byte
	for _, k := range keys {
		v := values[k]
		if far, ok := w.far[k]; ok {
			b = number(b, uint64(far.length))
			kinds, ids, offsets = append(kinds, 1), append(ids, 0), number(offsets, uint64(far.offset))
			continue
		}
		b = number(b, uint64(len(v)))
		if len(v) <= 40 {
			kinds, inline = append(kinds, 0), append(inline, v...)
			continue
		}
		at, _ := w.put(v)
		kinds, ids, offsets = append(kinds, 1), append(ids, 0), number(offsets, at)
	}
	return w.put(framed(nodeMagic, slices.Concat(b, kinds, ids, offsets, inline)))
}

// inner writes a node above others, each of a first key and the bytes that all below
// share.
func (w *tree) inner(keys []string, shared []int, offsets, lengths []uint64) (offset, length uint64) {
	b := number(append([]byte{1}, theFile("")...), uint64(len(keys)))
	b = append(b, make([]byte, len(keys)-1)...)
	var texts []byte
	for _, k := range keys {
		b, texts = number(b, uint64(len(k))), append(texts, k...)
	}
	for _, s := range shared {
		b = number(b, uint64(s))
	}
	b = append(append(b, texts...), make([]byte, len(keys))...) // and the files' numbers
	b = number(number(b, offsets...), lengths...)
	return w.put(framed(nodeMagic, append(b, make([]byte, 3*len(keys))...)))
}

// manifestFor returns the manifest of a root.
func manifestFor(height byte, offset, length uint64) []byte {
	b := append(make([]byte, 16), 0)
	b = append(number(b, 1024, 1<<20), 4, 0)
	b = append(append(b, theFile("")...), 1, 1, height, 0)
	b = number(b, offset, length)
	b = append(b, 0, 0, 0)
	return framed(manifestMagic, append(append(b, make([]byte, 8)...), 0))
}

const array = `{"zarr_format":2,"shape":[3,4],"chunks":[3,4],"dtype":"<f4","fill_value":0,"order":"C","filters":null,"compressor":null}`

func arrays() []formatstest.Array {
	return []formatstest.Array{formatstest.Counting("a/w", formats.F32, 4, 3, 4), formatstest.Counting("b", formats.F32, 4, 3, 4)}
}

// database is a tree of two leaves.
func database() (manifest, data []byte) {
	w := &tree{}
	values := map[string][]byte{}
	a := arrays()
	values["w/.zarray"], values["w/0.0"] = []byte(array), a[0].Data
	at1, n1 := w.leaf([]string{"w/.zarray", "w/0.0"}, values)
	values["b/.zarray"], values["b/0.0"], values["b/.zattrs"] = []byte(array), a[1].Data, []byte("{}")
	at2, n2 := w.leaf([]string{"b/.zarray", "b/.zattrs", "b/0.0"}, values)
	root, n := w.inner([]string{"a/w/.zarray", "b/.zarray"}, []int{2, 0}, []uint64{at1, at2}, []uint64{n1, n2})
	return manifestFor(1, root, n), w.file
}

func corpus() []formatstest.Case {
	m, data := database()
	return []formatstest.Case{{Name: "database", Data: m, Folder: formatstest.Folder{"d/x": data}, Tensors: 2}}
}

func TestConformance(t *testing.T) { formatstest.Run(t, Decoder{}, corpus()) }

func FuzzDecoder(f *testing.F) { formatstest.Fuzz(f, Decoder{}, corpus()) }

// onData reads the bytes as the file with the nodes.
type onData struct{ Decoder }

func (onData) Sniff([]byte) bool { return true }

func (d onData) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	if src.Size() == 0 {
		return nil, formats.Errorf(ID, "data", 0, formats.ErrTruncated, "nothing")
	}
	m, _ := database()
	return d.Decoder.Decode(ctx, formatstest.Beside{Source: formats.BytesSource(m), Files: map[string]formats.Source{"d/x": src}}, limits)
}

func dataCorpus() []formatstest.Case {
	_, data := database()
	return []formatstest.Case{{Name: "data", Data: data, Tensors: 2}}
}

func TestNodeConformance(t *testing.T) { formatstest.Run(t, onData{}, dataCorpus()) }

func FuzzNodes(f *testing.F) {
	for _, pattern := range []string{"ocdbt/d/*", "orbax_v2/d/*"} {
		for _, path := range fixtures.Glob(f, "fixtures/zarr/"+pattern) {
			b, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	formatstest.Fuzz(f, onData{}, dataCorpus())
}

func TestDatabase(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(manifest, data []byte) formatstest.Folder
		names  string
		codes  string
	}{
		{"good", nil, "a/w b", ""},
		{"the file is gone", func(m, _ []byte) formatstest.Folder { return formatstest.Folder{"m": m} }, "", "node"},
		{"a wrong checksum", func(m, d []byte) formatstest.Folder {
			m[len(m)-1] ^= 1
			return formatstest.Folder{"m": m, "d/x": d}
		}, "a/w b", "checksum"},
		{"a way out", func(m, d []byte) formatstest.Folder {
			m = []byte(strings.Replace(string(m), "d/x", "../", 1))
			return formatstest.Folder{"m": m, "d/x": d, "../": d}
		}, "", "checksum node"},
		{"a leaf is damaged", func(m, d []byte) formatstest.Folder {
			d[strings.Index(string(d), "\x0c\xdb\x20\xde")] = 1
			return formatstest.Folder{"m": m, "d/x": d}
		}, "b", "node"},
		{"no metadata", func(m, d []byte) formatstest.Folder {
			d = []byte(strings.Replace(string(d), ".zarray", ".zorrox", 1))
			return formatstest.Folder{"m": m, "d/x": d}
		}, "b a/w/0.0", "checksum others"},
		{"a hidden value", func(_, _ []byte) formatstest.Folder {
			w := &tree{}
			at, n := w.leaf([]string{"h"}, map[string][]byte{"h": make([]byte, 5000)})
			return formatstest.Folder{"m": manifestFor(0, at, n), "d/x": w.file}
		}, "h", "others"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, data := database()
			dir := formatstest.Folder{"m": m, "d/x": data}
			if c.change != nil {
				dir = c.change(m, data)
			}
			got, err := formatstest.Check(t, Decoder{}, dir.Source("m"), formats.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var names, codes []string
			for _, x := range got.Tensors {
				names = append(names, x.Name)
			}
			for _, f := range got.Findings {
				codes = append(codes, strings.TrimPrefix(f.Code, "ocdbt."))
			}
			slices.Sort(codes)
			if strings.Join(names, " ") != c.names || strings.Join(codes, " ") != c.codes {
				t.Errorf("%q, findings %v; want %q, %q", names, got.Findings, c.names, c.codes)
			}
			if c.codes == "" {
				formatstest.Same(t, got, arrays())
			}
		})
	}
}

// An array of 100 GiB takes no more memory to open than a small one.
func TestHuge(t *testing.T) {
	const size = 100 << 30
	w := &tree{far: map[string]ref{"w/0.0": {offset: 4096, length: size}}}
	at, n := w.leaf([]string{"w/.zarray", "w/0.0"}, map[string][]byte{"w/.zarray": []byte(strings.ReplaceAll(array, "[3,4]", "[25,1073741824]"))})
	data := formatstest.Sparse{Head: w.file, Bytes: 4096 + size}
	src := formatstest.Beside{Source: formats.BytesSource(manifestFor(0, at, n)), Files: map[string]formats.Source{"d/x": data}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := Decoder{}.Decode(t.Context(), src, formats.Limits{})
	runtime.ReadMemStats(&after)
	if err != nil || len(m.Tensors) != 1 || m.Tensors[0].Data.Length != size || m.Tensors[0].Data.Offset != 4096 || len(m.Findings) > 0 {
		t.Errorf("%+v, %v", m, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("%d bytes allocated", used)
	}
}

// A database without a key has a version without a tree.
func TestEmptyDatabase(t *testing.T) {
	src, err := file.Open(fixtures.Path(t, "fixtures", "zarr", "numbered", "manifest.0000000000000001"))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m, err := Decoder{}.Decode(t.Context(), src, formats.Limits{})
	if err != nil || len(m.Tensors) > 0 || len(m.Findings) > 0 {
		t.Errorf("%+v, %v", m, err)
	}
}

// A node that leads to itself ends at the heights.
func TestLoop(t *testing.T) {
	w := &tree{}
	at, n := w.inner([]string{"a", "b"}, []int{0, 0}, []uint64{0, 0}, []uint64{60, 60})
	w = &tree{}
	at, n = w.inner([]string{"a", "b"}, []int{0, 0}, []uint64{at, at}, []uint64{n, n})
	dir := formatstest.Folder{"m": manifestFor(1, at, n), "d/x": w.file}
	m, err := formatstest.Check(t, Decoder{}, dir.Source("m"), formats.Limits{})
	if err != nil || len(m.Findings) == 0 || m.Findings[0].Severity != formats.Unread {
		t.Errorf("%+v, %v", m, err)
	}
}
