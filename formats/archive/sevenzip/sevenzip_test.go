package sevenzip_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/archive/sevenzip"
)

// The files of testdata are by 7-Zip 26.02: one folder with a file of 3000 bytes,
// one of 280 and an empty one, packed in the ways their names say.
func wantOne() []byte {
	b := make([]byte, 3000)
	for i := range b {
		b[i] = byte(i * i >> 5)
	}
	return b
}

var wantTwo = bytes.Repeat([]byte("second member "), 20)

func read(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func open(data []byte) (*formats.Members, error) {
	return sevenzip.Container{}.Open(context.Background(), formats.BytesSource(data), formats.Limits{})
}

func contents(t *testing.T, src formats.Source) []byte {
	t.Helper()
	b := make([]byte, src.Size())
	if err := formats.ReadFull(src, b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOpen(t *testing.T) {
	for _, name := range []string{"Copy", "LZMA", "LZMA2", "Deflate", "BZip2", "plainheader", "nonsolid", "delta", "bcj"} {
		for _, prefix := range []string{"", "MZ a program that unpacks itself"} {
			data := append([]byte(prefix), read(t, name+".7z")...)
			if !(sevenzip.Container{}).Sniff(data) {
				t.Errorf("%s is not recognised", name)
			}
			m, err := open(data)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if len(m.Files) != 2 || m.Files[0].Name != "d/one.bin" || m.Files[1].Name != "d/two.bin" {
				t.Errorf("%s: %v", name, m.Files)
				continue
			}
			// The second first: solid blocks must not depend on the order.
			if !bytes.Equal(contents(t, m.Files[1].Source), wantTwo) || !bytes.Equal(contents(t, m.Files[0].Source), wantOne()) {
				t.Errorf("%s: contents differ", name)
			}
		}
	}
}

// py7zr filters all that it packs as if it were a program; these bytes are nothing but
// calls and jumps.
func TestFilterForPrograms(t *testing.T) {
	m, err := open(read(t, "py7zr.7z"))
	if err != nil || len(m.Files) != 1 {
		t.Fatalf("%v, %v", m, err)
	}
	want, x := make([]byte, 60000), uint32(1)
	for i := range want {
		x = (x*1103515245 + 12345) & 0x7fffffff
		want[i] = [8]byte{0xe8, 0xe9, 0, 0xff, 1, 0x7f, 0, 0xe8}[x>>16&7]
	}
	if !bytes.Equal(contents(t, m.Files[0].Source), want) {
		t.Error("contents differ")
	}
}

func TestStoredMembersAreParts(t *testing.T) {
	m, err := open(read(t, "Copy.7z"))
	if err != nil {
		t.Fatal(err)
	}
	base, off := m.Files[0].Source.(formats.Based).Base()
	if b, ok := base.(formats.BytesSource); !ok || !bytes.HasPrefix(b[off:], wantOne()) {
		t.Fatalf("%T at %d", base, off)
	}
}

func TestWhatCannotBeUnpackedIsSaid(t *testing.T) {
	for _, name := range []string{"encrypted.7z"} {
		m, err := open(read(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		said := slices.ContainsFunc(m.Findings, func(f formats.Finding) bool {
			return f.Code == "7z.member" && f.Severity == formats.Unread && strings.Contains(f.Text, "d/one.bin")
		})
		if len(m.Files) != 0 || !said {
			t.Errorf("%s: %v %v", name, m.Files, m.Findings)
		}
	}
	if _, err := open(read(t, "encheader.7z")); !errors.Is(err, formats.ErrUnsupported) {
		t.Errorf("encrypted header: %v", err)
	}
}

func TestDamage(t *testing.T) {
	for _, name := range []string{"LZMA2.7z", "plainheader.7z"} {
		data := read(t, name)
		for i := range data {
			if i > 60 && i < len(data)-220 { // packed data; the headers are at both ends
				continue
			}
			for _, b := range []byte{0, 0xff, data[i] ^ 1} {
				damaged := bytes.Clone(data)
				damaged[i] = b
				check(t, damaged)
			}
			check(t, data[:i])
		}
	}
}

func check(t *testing.T, data []byte) {
	t.Helper()
	limits := formats.Limits{InflatedBytes: 1 << 20, HeaderBytes: 1 << 20}
	m, err := sevenzip.Container{}.Open(context.Background(), formats.BytesSource(data), limits)
	if (m == nil) == (err == nil) {
		t.Fatalf("%v and %v", m, err)
	}
	if err != nil {
		var fe *formats.Error
		if !errors.As(err, &fe) {
			t.Fatalf("%v is no *formats.Error", err)
		}
		return
	}
	var b [16]byte
	for _, f := range m.Files {
		if n := f.Source.Size(); n > 0 {
			if err := formats.ReadFull(f.Source, b[:min(n, 16)], 0); err != nil {
				t.Fatalf("%q: %v", f.Name, err)
			}
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, name := range []string{"Copy.7z", "LZMA2.7z", "plainheader.7z", "encrypted.7z", "delta.7z", "bcj.7z"} {
		f.Add(read(f, name))
	}
	f.Fuzz(check)
}
