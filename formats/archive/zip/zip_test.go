package zip_test

import (
	stdzip "archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/archive/zip"
)

type file struct {
	name, data string
	method     uint16
}

func build(t testing.TB, files ...file) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := stdzip.NewWriter(&buf)
	for _, f := range files {
		e, err := w.CreateHeader(&stdzip.FileHeader{Name: f.name, Method: f.method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write([]byte(f.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func three(t testing.TB) []byte {
	return build(t, file{"a/one", "first member", stdzip.Store}, file{"a/two", strings.Repeat("second ", 50), stdzip.Deflate}, file{"b", "third", stdzip.Store})
}

var threeWant = []string{"a/one=first member", "a/two=" + strings.Repeat("second ", 50), "b=third"}

// open lists members as name=contents, and the codes of findings.
func open(t *testing.T, data []byte) (members, codes []string) {
	t.Helper()
	m, err := zip.Container{}.Open(context.Background(), formats.BytesSource(data), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Files {
		b := make([]byte, f.Source.Size())
		if err := formats.ReadFull(f.Source, b, 0); err != nil {
			t.Fatalf("%q: %v", f.Name, err)
		}
		members = append(members, f.Name+"="+string(b))
		if n, ok := f.Source.(formats.Noticer); ok {
			m.Findings = append(m.Findings, n.Findings()...)
		}
	}
	for _, f := range m.Findings {
		codes = append(codes, f.Code)
	}
	return members, codes
}

// patch changes bytes at the n-th occurrence of a signature.
func patch(data []byte, sig string, n, at int, b ...byte) []byte {
	data = bytes.Clone(data)
	i := 0
	for ; n >= 0; n-- {
		i += bytes.Index(data[i:], []byte(sig)) + 4
	}
	copy(data[i-4+at:], b)
	return data
}

const (
	local   = "PK\x03\x04"
	central = "PK\x01\x02"
	end     = "PK\x05\x06"
)

func TestOpen(t *testing.T) {
	plain := three(t)
	for name, tc := range map[string]struct {
		data  []byte
		codes []string
	}{
		"plain":                   {plain, nil},
		"prefix":                  {append(bytes.Repeat([]byte("x"), 5000), plain...), []string{"zip.prefix"}},
		"suffix":                  {append(bytes.Clone(plain), "garbage"...), []string{"zip.suffix"}},
		"checksum of stored":      {patch(plain, central, 0, 16, 1, 2, 3, 4), []string{"zip.crc"}},
		"checksum of deflated":    {patch(plain, central, 1, 16, 1, 2, 3, 4), []string{"zip.unpack"}},
		"encrypted in local":      {patch(plain, local, 0, 6, 0x09), []string{"zip.flags"}},
		"encrypted in directory":  {patch(plain, central, 0, 8, 0x09), []string{"zip.flags"}},
		"renamed local header":    {patch(plain, local, 2, 30, 'c'), []string{"zip.name"}},
		"method 99 in local":      {patch(plain, local, 0, 8, 99), []string{"zip.method"}},
		"version 255":             {patch(plain, local, 0, 4, 255, 255), nil},
		"end record claims none":  {patch(plain, end, 0, 8, 0, 0, 0, 0), nil},
		"directory offset lies":   {patch(plain, end, 0, 16, 0xff, 0xff, 0, 0), nil},
		"comment length lies":     {patch(plain, end, 0, 20, 0xff, 0xff), nil},
		"no end record":           {plain[:bytes.Index(plain, []byte(end))], []string{"zip.nodirectory"}},
		"no directory":            {plain[:bytes.Index(plain, []byte(central))], []string{"zip.nodirectory"}},
		"end record damaged":      {patch(plain, end, 0, 0, 'X'), []string{"zip.nodirectory"}},
		"first entry damaged":     {patch(plain, central, 0, 0, 'X'), []string{"zip.nodirectory"}},
		"second entry damaged":    {patch(plain, central, 1, 0, 'X'), []string{"zip.directory", "zip.hidden", "zip.hidden"}},
		"local header unreadable": {patch(plain, local, 1, 0, 'X'), []string{"zip.local"}},
	} {
		members, codes := open(t, tc.data)
		want := threeWant
		switch name {
		case "local header unreadable":
			want = []string{threeWant[0], threeWant[2]}
		case "renamed local header":
			want = []string{threeWant[0], threeWant[1], "b=third"}
		}
		if !slices.Equal(members, want) {
			t.Errorf("%s: members %q", name, members)
		}
		if !slices.Equal(codes, tc.codes) && name != "directory offset lies" {
			t.Errorf("%s: findings %q, want %q", name, codes, tc.codes)
		}
	}
}

func TestDuplicateAndFoldedNames(t *testing.T) {
	data := build(t, file{"data/0", "one", stdzip.Store}, file{"DATA/0", "two", stdzip.Store}, file{"data/0", "three", stdzip.Store})
	members, codes := open(t, data)
	if len(members) != 3 || !slices.Equal(codes, []string{"zip.duplicate"}) {
		t.Fatalf("%q %q", members, codes)
	}
}

func TestConcatenated(t *testing.T) {
	data := append(three(t), build(t, file{"other", "fourth", stdzip.Store})...)
	members, codes := open(t, data)
	if want := append([]string{"other=fourth"}, threeWant...); !slices.Equal(members, want) || !slices.Contains(codes, "zip.concatenated") {
		t.Fatalf("%q %q", members, codes)
	}
}

func TestHiddenMember(t *testing.T) {
	plain := three(t)
	hidden := []byte(local + "\x14\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x05\x00\x00\x00\x01\x00\x00\x00hHELLO")
	at := bytes.Index(plain, []byte(central))
	data := slices.Concat(plain[:at], hidden, plain[at:])
	data = patch(data, end, 0, 16, byte(at+len(hidden)), byte((at+len(hidden))>>8))
	members, codes := open(t, data)
	if want := append(slices.Clone(threeWant), "h=HELLO"); !slices.Equal(members, want) || !slices.Contains(codes, "zip.hidden") {
		t.Fatalf("%q %q", members, codes)
	}
}

// TestReach says where bytes begin that are no archive's: such that a search for models goes on there.
func TestReach(t *testing.T) {
	plain := three(t)
	other := make([]byte, formats.LeastLoose)
	first := build(t, file{"x", "compressed " + strings.Repeat("much ", 9), stdzip.Deflate})
	for name, c := range map[string]struct {
		data []byte
		want int
	}{
		"nothing else":           {plain, len(plain)},
		"a few bytes behind":     {slices.Concat(plain, other[:100]), len(plain)},
		"compressed, then bytes": {slices.Concat(first, other), len(first)},
		"bytes in front":         {slices.Concat(other, plain), 0},
		"bytes between archives": {slices.Concat(first, other, plain), len(first)},
	} {
		m, err := zip.Container{}.Open(context.Background(), formats.BytesSource(c.data), formats.Limits{})
		if err != nil || m.Reach != int64(c.want) {
			t.Errorf("%s: reach %d of %d, %v; want %d", name, m.Reach, len(c.data), err, c.want)
		}
	}
}

func TestStoredMembersAreParts(t *testing.T) {
	src := formats.BytesSource(three(t))
	m, err := zip.Container{}.Open(context.Background(), src, formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	base, off := m.Files[0].Source.(formats.Based).Base()
	if _, ok := base.(formats.BytesSource); !ok || off != 35 {
		t.Fatalf("%T at %d", base, off)
	}
}

func TestSiblings(t *testing.T) {
	src := formats.BytesSource(build(t, file{"m/model.onnx", "x", stdzip.Store}, file{"m/w/weights.bin", "here", stdzip.Deflate}, file{"secret", "s", stdzip.Store}))
	m, err := zip.Container{}.Open(context.Background(), src, formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := formats.OpenSibling(m.Files[0].Source, "w/weights.bin")
	if err != nil || w.Size() != 4 {
		t.Fatalf("%v", err)
	}
	for _, name := range []string{"../secret", "/secret", "w/../../secret", `..\secret`, "absent", ""} {
		if _, err := formats.OpenSibling(m.Files[0].Source, name); err == nil {
			t.Errorf("%q was opened", name)
		}
	}
}

func TestBombsEndAtTheLimits(t *testing.T) {
	data := build(t, file{"zeros", strings.Repeat("\x00", 8<<20), stdzip.Deflate}, file{"after", "still here", stdzip.Store})
	for name, limits := range map[string]formats.Limits{
		"ratio": {InflateRatio: 10},
		"total": {InflatedBytes: 2 << 20},
	} {
		ctx := context.Background()
		m, err := zip.Container{}.Open(ctx, formats.BytesSource(data), limits)
		if err != nil {
			t.Fatal(err)
		}
		size := m.Files[0].Source.Size()
		if size == 0 || size > 2<<20 {
			t.Errorf("%s: unpacked to %d bytes", name, size)
		}
		if f := m.Files[0].Source.(formats.Noticer).Findings(); len(f) != 1 || f[0].Severity != formats.Unread {
			t.Errorf("%s: findings %v", name, f)
		}
		if m.Files[1].Source.Size() != 10 {
			t.Errorf("%s: the other member is gone", name)
		}
	}
}

func TestMemberLimit(t *testing.T) {
	m, err := zip.Container{}.Open(context.Background(), formats.BytesSource(three(t)), formats.Limits{Members: 2})
	if err != nil || len(m.Files) != 2 {
		t.Fatalf("%v %v", m, err)
	}
	if m.Findings[0].Code != "zip.limit" {
		t.Fatalf("%v", m.Findings)
	}
}

// zip64 is a member with sizes, offset and count in zip64 records, the way
// PyTorch writes every archive.
func zip64() []byte {
	le := binary.LittleEndian
	var b []byte
	b = append(b, local+"\x2d\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x14\x00m"...)
	b = append(b, 1, 0, 16, 0)
	b = le.AppendUint64(le.AppendUint64(b, 5), 5)
	b = append(b, "HELLO"...)
	dir := len(b)
	b = append(b, central+"\x2d\x00\x2d\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x1c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xffm"...)
	b = append(b, 1, 0, 24, 0)
	b = le.AppendUint64(le.AppendUint64(le.AppendUint64(b, 5), 5), 0)
	at := len(b)
	b = append(b, "PK\x06\x06\x2c\x00\x00\x00\x00\x00\x00\x00\x2d\x00\x2d\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	b = le.AppendUint64(le.AppendUint64(b, 1), 1)
	b = le.AppendUint64(le.AppendUint64(b, uint64(at-dir)), uint64(dir))
	b = append(b, "PK\x06\x07\x00\x00\x00\x00"...)
	b = append(le.AppendUint64(b, uint64(at)), 1, 0, 0, 0)
	b = append(b, end+"\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"...)
	return b
}

func TestZip64(t *testing.T) {
	for name, data := range map[string][]byte{"plain": zip64(), "prefix": append([]byte(strings.Repeat("x", 99)), zip64()...)} {
		members, _ := open(t, data)
		if !slices.Equal(members, []string{"m=HELLO"}) {
			t.Errorf("%s: %q", name, members)
		}
	}
}

func TestTruncatedAtEveryLength(t *testing.T) {
	plain := three(t)
	for n := range plain {
		m, err := zip.Container{}.Open(context.Background(), formats.BytesSource(plain[:n]), formats.Limits{})
		if (m == nil) == (err == nil) {
			t.Fatalf("%d bytes: %v and %v", n, m, err)
		}
		if n > 100 && err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

func TestNothing(t *testing.T) {
	for _, data := range []string{"", "PK", "PK\x05\x06", strings.Repeat("PK\x03\x04", 100), end + strings.Repeat("\xff", 18)} {
		m, err := zip.Container{}.Open(context.Background(), formats.BytesSource(data), formats.Limits{})
		var e *formats.Error
		if m != nil || !errors.As(err, &e) {
			t.Errorf("%q: %v, %v", data, m, err)
		}
	}
}

func TestManyMembersBounded(t *testing.T) {
	files := make([]file, 3000)
	for i := range files {
		files[i] = file{fmt.Sprintf("d/%d", i), "x", stdzip.Store}
	}
	members, codes := open(t, build(t, files...))
	if len(members) != len(files) || codes != nil {
		t.Fatalf("%d members, %q", len(members), codes)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(three(f))
	f.Add(zip64())
	f.Add(patch(three(f), central, 1, 0, 'X'))
	f.Fuzz(func(t *testing.T, data []byte) {
		limits := formats.Limits{InflatedBytes: 4 << 20, Members: 1000}
		ctx := formats.WithSpool(context.Background(), formats.NewSpool(limits, nil))
		m, err := zip.Container{}.Open(ctx, formats.BytesSource(data), limits)
		if (m == nil) == (err == nil) {
			t.Fatalf("%v and %v", m, err)
		}
		if m == nil {
			return
		}
		var b [16]byte
		for _, file := range m.Files {
			if n := file.Source.Size(); n > 0 {
				if err := formats.ReadFull(file.Source, b[:min(n, 16)], 0); err != nil {
					t.Fatalf("%q: %v", file.Name, err)
				}
			}
		}
	})
}

// TestMethods reads archives by 7-Zip 26.02: a file of 3000 bytes and one of 280.
func TestMethods(t *testing.T) {
	one := make([]byte, 3000)
	for i := range one {
		one[i] = byte(i * i >> 5)
	}
	want := []string{"d/one.bin=" + string(one), "d/two.bin=" + strings.Repeat("second member ", 20)}
	for _, name := range []string{"BZip2", "LZMA", "XZ"} {
		data, err := os.ReadFile("testdata/" + name + ".zip")
		if err != nil {
			t.Fatal(err)
		}
		if members, codes := open(t, data); !slices.Equal(members, want) || codes != nil {
			t.Errorf("%s: %d members, %q", name, len(members), codes)
		}
	}
	for name, code := range map[string]string{"Deflate64": "zip.member", "enc": "zip.flags", "aes": "zip.member"} {
		data, err := os.ReadFile("testdata/" + name + ".zip")
		if err != nil {
			t.Fatal(err)
		}
		if _, codes := open(t, data); !slices.Contains(codes, code) {
			t.Errorf("%s: findings %q lack %s", name, codes, code)
		}
	}
}
