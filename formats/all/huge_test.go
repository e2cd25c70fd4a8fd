package all_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/file"
	"weightwarden/formats/formatstest"
	"weightwarden/internal/fixtures"
)

// hugeHeads are the first bytes of files of each format with one tensor of 100 GiB.
func hugeHeads(t *testing.T) map[string][]byte {
	const size = 100 << 30
	tensor := formatstest.Proto{}.Varint(1, 25<<30).Varint(2, 1).Text(8, "w")
	tensor = binary.AppendUvarint(append(tensor, 9<<3|2), size)
	graph := binary.AppendUvarint(formatstest.Proto{5<<3 | 2}, uint64(len(tensor))+size)
	onnx := append(formatstest.Proto{}.Varint(1, 8).Text(2, "t"), 7<<3|2)
	onnx = binary.AppendUvarint(onnx, uint64(len(graph)+len(tensor))+size)
	// A frozen graph: node 1, attribute 5, its value 2, tensor 8, content 4.
	constant := formatstest.Proto{}.Varint(1, 1).Bytes(2, formatstest.Proto{}.Bytes(2, formatstest.Proto{}.Varint(1, 25<<30)))
	constant = binary.AppendUvarint(append(constant, 4<<3|2), size)
	for _, within := range []struct {
		head  formatstest.Proto
		field uint64
	}{{nil, 8}, {formatstest.Proto{}.Text(1, "value"), 2}, {formatstest.Proto{}.Text(1, "w").Text(2, "Const"), 5}, {nil, 1}} {
		tag := binary.AppendUvarint(append(within.head, byte(within.field<<3|2)), uint64(len(constant))+size)
		constant = slices.Concat(tag, constant)
	}
	gguf := formatstest.GGUF{Version: 3, Arrays: []formatstest.Array{{Name: "w", DType: formats.F32, Shape: []int64{25, 1 << 30}}}}.Bytes()
	npy := fmt.Sprintf("\x93NUMPY\x01\x00\x76\x00%-118s", "{'descr': '<f4', 'fortran_order': False, 'shape': (25, 1073741824), }")
	hdf5, err := os.ReadFile(fixtures.Path(t, "fixtures", "hdf5", "huge.head"))
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"safetensors": formatstest.SafetensorsRaw(fmt.Sprintf(`{"w":{"dtype":"F32","shape":[25,1073741824],"data_offsets":[0,%d]}}`, size), nil),
		"gguf":        append(gguf, make([]byte, -len(gguf)&31)...),
		"onnx":        slices.Concat(onnx, graph, tensor),
		"npy":         []byte(npy),

		"tensorflow-graph": constant,
		"hdf5":             hdf5[:2048],
		"tflite": formatstest.FlatBuffer("TFL3", formatstest.Table{uint32(3), nil, []formatstest.Table{
			{[]formatstest.Table{{[]int32{25, 1 << 30}, byte(0), uint32(1), "w"}}}}, nil,
			[]formatstest.Table{{}, {nil, uint64(4096), uint64(size)}}}),
	}
}

// hugeFile is the first bytes of a file, and its size.
type hugeFile struct {
	head []byte
	size int64
}

// hugeFolders are models whose 100 GiB lie in another file than the one that is
// opened, and those within an archive.
func hugeFolders(t *testing.T) map[string]map[string]hugeFile {
	const size = 100 << 30
	head := hugeHeads(t)["safetensors"]
	blob := make([]byte, 128)
	binary.LittleEndian.PutUint32(blob, 1)
	binary.LittleEndian.PutUint32(blob[4:], 2)
	binary.LittleEndian.PutUint32(blob[64:], 0xdeadbeef)
	binary.LittleEndian.PutUint32(blob[68:], 2)
	binary.LittleEndian.PutUint64(blob[72:], size)
	binary.LittleEndian.PutUint64(blob[80:], 128)
	var tarred bytes.Buffer
	if err := tar.NewWriter(&tarred).WriteHeader(&tar.Header{Name: "m.safetensors", Mode: 0o600, Size: size + int64(len(head)), Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	text := func(s string) hugeFile { return hugeFile{[]byte(s), int64(len(s))} }
	return map[string]map[string]hugeFile{
		"zarr": {"open": text(`{"zarr_format":2,"shape":[25,1073741824],"chunks":[25,1073741824],"dtype":"<f4","fill_value":0,"order":"C","filters":null,"compressor":null}`),
			"0.0": {nil, size}},
		"tfjs": {"open": text(`{"format":"graph-model","weightsManifest":[{"paths":["w.bin"],"weights":[{"name":"w","shape":[25,1073741824],"dtype":"float32"}]}]}`),
			"w.bin": {nil, size}},
		"safetensors":      {"open": text(`{"metadata":{},"weight_map":{"w":"m.safetensors"}}`), "m.safetensors": {head, size + int64(len(head))}},
		"coreml":           {"open": {blob, 128 + size}},
		"tar(safetensors)": {"open": {append(tarred.Bytes(), head...), (int64(tarred.Len()+len(head))+size+511)/512*512 + 1024}},
	}
}

func TestHugeFolders(t *testing.T) {
	for name, files := range hugeFolders(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, f := range files {
				sparse(t, filepath.Join(dir, file), f)
			}
			opensInLittle(t, filepath.Join(dir, "open"), name)
		})
	}
}

// A file of 100 GiB takes no more memory to open than a small one.
func TestHugeFiles(t *testing.T) {
	for name, head := range hugeHeads(t) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model")
			size := int64(len(head)) + 100<<30
			if name == "tflite" {
				size = 4096 + 100<<30
			}
			sparse(t, path, hugeFile{head, size})
			opensInLittle(t, path, name)
		})
	}
}

func sparse(t *testing.T, path string, f hugeFile) {
	t.Helper()
	if err := os.WriteFile(path, f.head, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, f.size); err != nil {
		t.Skipf("the file system has no sparse files of this size: %v", err)
	}
}

// opensInLittle decodes a file with one tensor of 100 GiB.
func opensInLittle(t *testing.T, path, format string) {
	t.Helper()
	src, err := file.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := all.Decoders().Decode(t.Context(), src, formats.Limits{})
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Tensors) != 1 || m.Tensors[0].Data.Length != 100<<30 || len(m.Findings) != 0 || string(m.Format) != format {
		t.Errorf("%+v", m)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("%d bytes allocated", used)
	} else {
		t.Logf("%d bytes allocated", used)
	}
}
