package tar_test

import (
	stdtar "archive/tar"
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/archive/tar"
)

func build(t testing.TB, format stdtar.Format, files ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := stdtar.NewWriter(&buf)
	for _, f := range files {
		name, data, _ := strings.Cut(f, "=")
		if err := w.WriteHeader(&stdtar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), Format: format}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

var want = []string{"a/one=first", "a/" + strings.Repeat("long", 60) + "=second", "../evil=third"}

func open(t *testing.T, data []byte) (members, codes []string) {
	t.Helper()
	if !(tar.Container{}).Sniff(data[:min(len(data), formats.HeadBytes)]) {
		t.Error("not recognised")
	}
	m, err := tar.Container{}.Open(context.Background(), formats.BytesSource(data), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Files {
		b := make([]byte, f.Source.Size())
		if err := formats.ReadFull(f.Source, b, 0); err != nil {
			t.Fatal(err)
		}
		members = append(members, f.Name+"="+string(b))
	}
	for _, f := range m.Findings {
		codes = append(codes, f.Code)
	}
	return members, codes
}

func TestOpen(t *testing.T) {
	for _, format := range []stdtar.Format{stdtar.FormatPAX, stdtar.FormatGNU} {
		data := build(t, format, want...)
		if members, codes := open(t, data); !slices.Equal(members, want) || codes != nil {
			t.Errorf("%v: %q %q", format, members, codes)
		}
	}
}

func TestMembersAreParts(t *testing.T) {
	src := formats.BytesSource(build(t, stdtar.FormatUSTAR, "a=hello"))
	m, err := tar.Container{}.Open(context.Background(), src, formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if base, off := m.Files[0].Source.(formats.Based).Base(); off != 512 || base.Size() != src.Size() {
		t.Fatalf("%T at %d", base, off)
	}
}

func TestDamage(t *testing.T) {
	whole := build(t, stdtar.FormatUSTAR, "a=first", "b=second", "c=third")
	damaged := bytes.Clone(whole)
	damaged[1024+150] ^= 0xff // checksum of the second header
	members, codes := open(t, damaged)
	if !slices.Equal(members, []string{"a=first", "c=third"}) || !slices.Equal(codes, []string{"tar.header"}) {
		t.Errorf("damaged header: %q %q", members, codes)
	}
	members, codes = open(t, whole[:1024+512+3])
	if !slices.Equal(members, []string{"a=first", "b=sec"}) || !slices.Contains(codes, "tar.truncated") {
		t.Errorf("truncated: %q %q", members, codes)
	}
	members, _ = open(t, append(bytes.Clone(whole), whole...))
	if len(members) != 6 {
		t.Errorf("two archives: %q", members)
	}
}

func TestTruncatedAtEveryLength(t *testing.T) {
	whole := build(t, stdtar.FormatPAX, want...)
	for n := range whole {
		m, err := tar.Container{}.Open(context.Background(), formats.BytesSource(whole[:n]), formats.Limits{})
		if (m == nil) == (err == nil) {
			t.Fatalf("%d bytes: %v and %v", n, m, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(build(f, stdtar.FormatPAX, want...))
	f.Add(build(f, stdtar.FormatGNU, want...))
	f.Fuzz(func(t *testing.T, data []byte) {
		limits := formats.Limits{InflatedBytes: 4 << 20, Members: 1000}
		m, err := tar.Container{}.Open(context.Background(), formats.BytesSource(data), limits)
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
