package pytorch_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/file"
	"weightwarden/formats/pytorch"
)

// TestModern reads what PyTorch 2.15 and NumPy 2.4 write beside state dicts; see
// testdata/torch215.py.
func TestModern(t *testing.T) {
	a, b := floats(0, 1, 2, 3, 4, 5), floats(10, 11)
	long := make([]float32, 30000)
	for i := range long {
		long[i] = float32(i)
	}
	ones := floats(1, 1)
	type want map[string][]byte
	for name, tensors := range map[string]want{
		"exported.pt2":      {"weight": a, "bias": b},
		"package.pt":        {"model.weight": a, "model.bias": b},
		"dcp/__0_0.distcp":  {"a": a, "net.weight": a, "net.bias": b},
		"numpy_p0.pkl":      {"a": a, "fortran": a, "big": a},
		"numpy_p2.pkl":      {"a": a, "fortran": a, "big": a},
		"numpy_p5.pkl":      {"a": a, "fortran": a, "big": a},
		"numpy_long_p2.pkl": {"a": floats(long...)},
		"tensor.pkl":        {"a": a, "list.0": floats(0, 2, 4, 6, 8, 10)},
		"sparse.pt":         {"coo.values": ones, "csr.values": ones, "meta": nil},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := file.Open(filepath.Join("testdata", filepath.FromSlash(name)))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			m, err := pytorch.Decoder{}.Decode(context.Background(), f, formats.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			got := want{}
			for i := range m.Tensors {
				tensor := &m.Tensors[i]
				if tensor.Data.Source == nil {
					got[tensor.Name] = nil
					continue
				}
				r, err := tensor.Reader()
				if err != nil {
					t.Fatal(err)
				}
				if got[tensor.Name], err = io.ReadAll(r); err != nil {
					t.Fatal(err)
				}
			}
			for n, data := range tensors {
				if have, ok := got[n]; !ok || !bytes.Equal(have, data) {
					t.Errorf("%s: %d bytes of %d, there %v", n, len(have), len(data), ok)
				}
			}
			for _, f := range m.Findings {
				if f.Severity == formats.Unread || f.Severity == formats.Danger {
					t.Errorf("%s: %s", f.Code, f.Text)
				}
			}
		})
	}
}

func TestBigEndianZip(t *testing.T) {
	pkl := proto + dictOp("a") + "."
	data := archiveOf(t, member{"m/data.pkl", pkl}, member{"m/byteorder", "big"}, member{"m/data/0", "\x3f\x80\x00\x00\x40\x00\x00\x00"})
	m := decode(t, data)
	r, err := m.Tensors[0].Reader()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, floats(1, 2)) {
		t.Fatalf("%x, %v", got, err)
	}
}

// TestStoredRecordsAreNotCopied holds that tensors of a plain archive point into
// the file itself, and share their storages.
func TestStoredRecordsAreNotCopied(t *testing.T) {
	src := formats.BytesSource(model(t, proto+"}("+text("a")+tensorOp("0")+"q\x01"+text("tied")+"h\x01u."))
	m, err := pytorch.Decoder{}.Decode(context.Background(), src, formats.Limits{})
	if err != nil || len(m.Tensors) != 3 { // and the record that nothing uses
		t.Fatalf("%+v, %v", m, err)
	}
	x, y := m.Tensors[0].Data, m.Tensors[1].Data
	if _, ok := x.Source.(formats.BytesSource); !ok || x.Offset != y.Offset || x.Length != 8 || string(src[x.Offset:x.Offset+8]) != "AAAABBBB" {
		t.Fatalf("%+v %+v", x, y)
	}
}

func modernCorpus(tb testing.TB) [][]byte {
	var out [][]byte
	for _, name := range []string{"exported.pt2", "package.pt", "numpy_p2.pkl", "numpy_p5.pkl", "tensor.pkl", "sparse.pt"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, b)
	}
	return append(out, tar01(tb), legacyOf(proto+dictOp("a")+"."), model(tb, proto+dictOp("a", "b")+"."))
}

// TestDamagedSizes sets every aligned word of modern files to hostile numbers.
func TestDamagedSizes(t *testing.T) {
	for _, data := range modernCorpus(t) {
		step := 1 + len(data)/120
		for i := 0; i < len(data); i += step {
			for _, v := range []uint64{0, 1<<64 - 1, 1 << 62, uint64(len(data)) + 1} {
				bad := slices.Clone(data)
				copy(bad[i:], binary.LittleEndian.AppendUint64(nil, v))
				m, err := pytorch.Decoder{}.Decode(context.Background(), formats.BytesSource(bad), formats.Limits{})
				if (m == nil) == (err == nil) {
					t.Fatalf("%x at %d: %v and %v", v, i, m, err)
				}
			}
		}
	}
}
