package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/formatstest"
)

func zipOf(t *testing.T, method uint16, files map[string][]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		e, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func tarOf(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func gzipOf(t *testing.T, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func weights() []byte {
	return formatstest.Safetensors(formatstest.Counting("w", formats.F32, 16, 16))
}

func decode(t *testing.T, data []byte, limits formats.Limits) *formats.Model {
	t.Helper()
	m, err := all.Decoders().Decode(context.Background(), formats.BytesSource(data), limits)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func has(m *formats.Model, code string) bool {
	return slices.ContainsFunc(m.Findings, func(f formats.Finding) bool { return f.Code == code })
}

func TestNesting(t *testing.T) {
	data := weights()
	inner := zipOf(t, zip.Deflate, map[string][]byte{"m.bin": data})
	m := decode(t, gzipOf(t, tarOf(t, "a/b.zip", inner)), formats.Limits{})
	if len(m.Tensors) != 1 || m.Tensors[0].Member != "!a/b.zip!m.bin" && m.Tensors[0].Member != "a/b.zip!m.bin" {
		t.Fatalf("%+v", m)
	}
	if m.Format != "gzip(tar(zip(safetensors)))" {
		t.Errorf("format %s", m.Format)
	}
}

func TestDepth(t *testing.T) {
	data := weights()
	for range 40 {
		data = zipOf(t, zip.Store, map[string][]byte{"x": data})
	}
	m := decode(t, data, formats.Limits{})
	if len(m.Tensors) != 0 || !slices.ContainsFunc(m.Findings, func(f formats.Finding) bool { return f.Severity == formats.Unread }) {
		t.Fatalf("nothing is said about what lies too deep: %+v", m)
	}
}

// TestBudgetIsSharedByNestedArchives unpacks a bomb of bombs: what all levels
// unpack to counts together.
func TestBudgetIsSharedByNestedArchives(t *testing.T) {
	bomb := zipOf(t, zip.Deflate, map[string][]byte{"zeros": make([]byte, 4<<20)})
	files := map[string][]byte{"z": weights()}
	for i := range 20 {
		files[fmt.Sprintf("%02d", i)] = bomb
	}
	spool := formats.NewSpool(formats.Limits{InflatedBytes: 10 << 20}, nil)
	ctx := formats.WithSpool(context.Background(), spool)
	m, err := all.Decoders().Decode(ctx, formats.BytesSource(zipOf(t, zip.Store, files)), formats.Limits{InflatedBytes: 10 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if !has(m, "zip.unpack") || len(m.Tensors) != 1 {
		t.Fatalf("%d tensors, %v", len(m.Tensors), m.Findings)
	}
}

func TestMembersAreSharedByNestedArchives(t *testing.T) {
	files := map[string][]byte{}
	for i := range 20 {
		inner := map[string][]byte{}
		for j := range 20 {
			inner[fmt.Sprint(j)] = []byte{byte(j)}
		}
		files[fmt.Sprint(i)] = zipOf(t, zip.Store, inner)
	}
	m := decode(t, zipOf(t, zip.Store, files), formats.Limits{Members: 100})
	if !has(m, "zip.limit") {
		t.Fatalf("%v", m.Findings)
	}
}

// TestArchiveInItself opens a zip whose stored member covers the whole archive
// again, which must end.
func TestArchiveInItself(t *testing.T) {
	data := zipOf(t, zip.Store, map[string][]byte{"a": []byte("x"), "w": weights()})
	// The first local header says that it is as long as all that follows.
	at := strings.Index(string(data), "PK\x01\x02")
	for _, i := range []int{at + 20, at + 24} {
		n := len(data) - 31
		copy(data[i:], []byte{byte(n), byte(n >> 8), byte(n >> 16), 0})
	}
	m := decode(t, data, formats.Limits{Members: 5000})
	if len(m.Tensors) == 0 {
		t.Fatalf("%+v", m)
	}
}

func TestTimeIsBounded(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	src := &cancelSource{BytesSource: gzipOf(t, tarOf(t, "x", make([]byte, 32<<20))), cancel: cancel}
	if m, err := all.Decoders().Decode(ctx, src, formats.Limits{}); m != nil || err == nil {
		t.Fatalf("%v, %v", m, err)
	}
}

// cancelSource cancels the decoding at its third read.
type cancelSource struct {
	formats.BytesSource
	reads  int
	cancel func()
}

func (c *cancelSource) ReadAt(p []byte, off int64) (int, error) {
	if c.reads++; c.reads == 3 {
		c.cancel()
	}
	return c.BytesSource.ReadAt(p, off)
}

// TestMembersAreNotFoundTwice puts small models at the start and end of
// archives, where they look like something in front or behind.
func TestMembersAreNotFoundTwice(t *testing.T) {
	model := zipOf(t, zip.Store, map[string][]byte{"m.safetensors": weights()})
	packed := zipOf(t, zip.Deflate, map[string][]byte{"m.safetensors": weights()})
	for name, data := range map[string][]byte{
		"zip in tar":          tarOf(t, "a", model),
		"deflated zip in tar": tarOf(t, "a", packed),
		"zip in zip":          zipOf(t, zip.Store, map[string][]byte{"a": model}),
		"tar in tar":          tarOf(t, "a", tarOf(t, "b", weights())),
	} {
		if m := decode(t, data, formats.Limits{}); len(m.Tensors) != 1 || has(m, "polyglot") {
			t.Errorf("%s: %d tensors, %v", name, len(m.Tensors), m.Findings)
		}
	}
	behind := append(tarOf(t, "a", weights()), model...)
	if m := decode(t, behind, formats.Limits{}); len(m.Tensors) != 2 || !has(m, "polyglot") {
		t.Errorf("a zip behind a tar: %d tensors, %v", len(m.Tensors), m.Findings)
	}
}

// Members that no decoder reads are listed where they lie packed, for whoever looks for
// bytes; those that the file's own bytes show are not.
func TestLooseMembers(t *testing.T) {
	noise := make([]byte, 200<<10)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	plain := tarOf(t, "notes.bin", noise)
	for name, c := range map[string]struct {
		file []byte
		want []string
	}{
		"tar":        {plain, nil},
		"gzip":       {gzipOf(t, noise), []string{""}},
		"tar.gz":     {gzipOf(t, plain), []string{""}},
		"tar of gz":  {tarOf(t, "notes.gz", gzipOf(t, noise)), []string{"notes.gz"}},
		"small":      {gzipOf(t, noise[:1000]), nil},
		"gz of text": {gzipOf(t, bytes.Repeat([]byte("words "), 20000)), []string{""}},
	} {
		m, err := all.Decoders().Decode(context.Background(), formats.BytesSource(c.file), formats.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []string
		for _, l := range m.Loose {
			got = append(got, l.Member)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
