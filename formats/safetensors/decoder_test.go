package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	reference "github.com/nlpodyssey/safetensors"

	"weightwarden/formats"
	"weightwarden/formats/formatstest"
	"weightwarden/internal/fixtures"
)

func everyDType() []formatstest.Array {
	var out []formatstest.Array
	for d := formats.F64; d <= formats.Bool; d++ {
		if got, ok := parseDType(d.String()); ok && got == d {
			out = append(out, formatstest.Counting("w."+d.String(), d, byte(d), 2, 4))
		}
	}
	return out
}

func corpus() []formatstest.Case {
	small := formatstest.Safetensors(formatstest.Counting("a", formats.F32, 1, 2, 3),
		formatstest.Counting("b/é", formats.BF16, 9, 5), formatstest.Counting("scalar", formats.I64, 3))
	return []formatstest.Case{
		{Name: "small", Data: small, Tensors: 3},
		{Name: "dtypes", Data: formatstest.Safetensors(everyDType()...), Tensors: 22, Header: 300},
	}
}

func TestConformance(t *testing.T) { formatstest.Run(t, Decoder{}, corpus()) }

func FuzzDecoder(f *testing.F) { formatstest.Fuzz(f, Decoder{}, corpus()) }

func TestReadsWhatTheReferenceReads(t *testing.T) {
	paths := append(fixtures.Glob(t, "models/*.safetensors"), fixtures.Glob(t, "fixtures/safetensors/*.safetensors")...)
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { formatstest.Expect(t, Decoder{}, path) })
	}
}

func TestEveryDType(t *testing.T) {
	arrays := everyDType()
	if len(arrays) != 22 {
		t.Errorf("%d dtypes, the specification has 22", len(arrays))
	}
	m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(formatstest.Safetensors(arrays...)), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	formatstest.Same(t, m, arrays)
	if len(m.Findings) != 0 || len(m.Metadata) != 1 || m.Metadata[0] != (formats.KeyValue{Key: "format", Value: "pt"}) {
		t.Errorf("findings %v, metadata %v", m.Findings, m.Metadata)
	}
}

// What nlpodyssey/safetensors reads, this package reads the same.
func TestAgreesWithReference(t *testing.T) {
	data := corpus()[0].Data
	_, want, err := reference.ReadMetadata(data)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decoder{}.Decode(t.Context(), formats.BytesSource(data), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range m.Tensors {
		w := want.Tensors()[got.Name]
		if w == nil || w.DType.String() != got.DType.String() || int64(w.DataOffsets[1]-w.DataOffsets[0]) != got.Data.Length {
			t.Errorf("%q: %+v, reference %+v", got.Name, got, w)
		}
	}
	if len(m.Tensors) != len(want.Tensors()) {
		t.Errorf("%d tensors, reference %d", len(m.Tensors), len(want.Tensors()))
	}
}

const entryA = `"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}`

func TestOddHeaders(t *testing.T) {
	eight := []byte("01234567")
	for _, c := range []struct {
		name, header string
		tensors      int
		codes        string
		err          error
	}{
		{"white space", " \n\t{" + entryA + `,"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}` + "  \n", 2, "", nil},
		{"page of white space", strings.Repeat(" ", 5000) + "{" + entryA + "}", 1, "hole", nil},
		{"empty", "{}", 0, "hole", nil},
		{"duplicate", "{" + entryA + "," + entryA + "}", 2, "duplicate overlap hole", nil},
		{"hole", `{"a":{"dtype":"U8","shape":[2],"data_offsets":[6,8]}}`, 1, "hole", nil},
		{"overlap", "{" + entryA + `,"b":{"dtype":"U8","shape":[6],"data_offsets":[2,8]}}`, 2, "overlap", nil},
		{"extra key", `{"a":{"dtype":"U8","x":{"y":[1]},"shape":[8],"data_offsets":[0,8]}}`, 1, "key", nil},
		{"unknown dtype", `{"a":{"dtype":"F5","shape":[8],"data_offsets":[0,8]}}`, 1, "dtype", nil},
		{"wrong size", `{"a":{"dtype":"F32","shape":[8],"data_offsets":[0,8]}}`, 1, "size", nil},
		{"shape overflow", `{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}`, 1, "size", nil},
		{"negative shape", `{"a":{"dtype":"U8","shape":[-8],"data_offsets":[0,8]}}`, 1, "size", nil},
		{"float shape", `{"a":{"dtype":"U8","shape":[8.0],"data_offsets":[0,8]}}`, 1, "size", nil},
		{"backwards", `{"a":{"dtype":"U8","shape":[8],"data_offsets":[8,0]}}`, 0, "entry hole", nil},
		{"wrapping", `{"a":{"dtype":"U8","shape":[8],"data_offsets":[9223372036854775800,9223372036854775807]}}`, 1, "size hole truncated", nil},
		{"beyond the end", `{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}`, 1, "truncated", nil},
		{"no object", `{"a":3}`, 0, "entry hole", nil},
		{"metadata", `{"__metadata__":{"a":1,"b":"c"},` + entryA + `}`, 1, "metadata hole", nil},
		{"bad UTF-8", "{\"\xff\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}", 1, "text", nil},
		{"garbage after", "{" + entryA + "}x", 1, "header_tail hole", nil},
		{"broken after one", "{" + entryA + `,"b":{"dtype":`, 1, "header", nil},
		{"deep", `{"a":` + strings.Repeat("[", 100000), 0, "", formats.ErrLimit},
		{"null", `null`, 0, "", formats.ErrNotRecognized},
		{"array", `[]`, 0, "", formats.ErrNotRecognized},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := formatstest.SafetensorsRaw(c.header, eight)
			if c.err == nil && !(Decoder{}).Sniff(data[:min(len(data), formats.HeadBytes)]) {
				t.Error("Sniff misses it")
			}
			m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(data), formats.Limits{})
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if err != nil {
				return
			}
			var codes []string
			for _, f := range m.Findings {
				if code := strings.TrimPrefix(f.Code, "safetensors."); !slices.Contains(codes, code) {
					codes = append(codes, code)
				}
			}
			if len(m.Tensors) != c.tensors || strings.Join(codes, " ") != c.codes {
				t.Errorf("%d tensors, findings %q; want %d, %q", len(m.Tensors), codes, c.tensors, c.codes)
			}
		})
	}
}

func TestHeaderLengths(t *testing.T) {
	for _, n := range []uint64{1 << 62, 1<<64 - 1, 1 << 40, 1 << 32} {
		data := append(binary.LittleEndian.AppendUint64(nil, n), `{"a":`...)
		if _, err := formatstest.Check(t, Decoder{}, formats.BytesSource(data), formats.Limits{}); !errors.Is(err, formats.ErrTruncated) {
			t.Errorf("header of %d bytes: %v", n, err)
		}
	}
	if (Decoder{}).Sniff([]byte(`{"name":{"x":1}}`)) {
		t.Error("a JSON text is claimed")
	}
}

// bigHeader is a file whose header lists n tensors of one byte.
func bigHeader(n int) []byte {
	var b bytes.Buffer
	b.Grow(n*76 + n)
	b.Write(make([]byte, 8))
	sep := byte('{')
	for i := range n {
		b.WriteByte(sep)
		fmt.Fprintf(&b, `"t%07d":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}`, i, i, i+1)
		sep = ','
	}
	b.WriteByte('}')
	binary.LittleEndian.PutUint64(b.Bytes(), uint64(b.Len()-8))
	b.Write(make([]byte, n))
	return b.Bytes()
}

// The memory of a long header is about four times its bytes, all told.
func TestBigHeaderMemory(t *testing.T) {
	const n = 150_000
	data := bigHeader(n)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := Decoder{}.Decode(t.Context(), formats.BytesSource(data), formats.Limits{})
	runtime.ReadMemStats(&after)
	if err != nil || len(m.Tensors) != n || len(m.Findings) != 0 {
		t.Fatalf("%v", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > uint64(4*len(data)) {
		t.Errorf("%d bytes allocated for a file of %d", used, len(data))
	}
}

func BenchmarkHeader100MB(b *testing.B) {
	data := bigHeader(1_450_000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Decoder{}).Decode(b.Context(), formats.BytesSource(data), formats.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
