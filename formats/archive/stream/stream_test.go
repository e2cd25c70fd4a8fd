package stream_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"weightwarden/formats"
	"weightwarden/formats/archive/stream"
)

// text does not compress to nothing, so that streams can be cut within it.
var text = func() []byte {
	var b []byte
	for i := range 20000 {
		b = append(b, byte(i*i>>5), byte(i>>3))
	}
	return b
}()

func packed(tb testing.TB) map[formats.ID][]byte {
	tb.Helper()
	out := map[formats.ID][]byte{}
	pack := func(id formats.ID, open func(io.Writer) (io.WriteCloser, error)) {
		var buf bytes.Buffer
		w, err := open(&buf)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			tb.Fatal(err)
		}
		if err := w.Close(); err != nil {
			tb.Fatal(err)
		}
		out[id] = buf.Bytes()
	}
	pack("gzip", func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
	pack("zlib", func(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil })
	pack("zstd", func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
	pack("xz", func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) })
	pack("lzma", func(w io.Writer) (io.WriteCloser, error) { return lzma.NewWriter(w) })
	pack("lz4", func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil })
	return out
}

// bzip2Text is "bzip2 bzip2 bzip2 tensors" by bzip2 1.0.8; Go has no writer.
const bzip2Text = "425a683931415926535926182c500000031980400010001221dc102000310340d023d5326986a70a321b515db352b47c5dc914e142409860b140"

func container(tb testing.TB, id formats.ID) formats.Container {
	for _, c := range stream.All() {
		if c.ID() == id {
			return c
		}
	}
	tb.Fatalf("no container %s", id)
	return nil
}

func unpack(t *testing.T, id formats.ID, data []byte, limits formats.Limits) ([]byte, []formats.Finding) {
	t.Helper()
	m, err := container(t, id).Open(context.Background(), formats.BytesSource(data), limits)
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	src := m.Files[0].Source
	b := make([]byte, src.Size())
	if err := formats.ReadFull(src, b, 0); err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return b, src.(formats.Noticer).Findings()
}

func TestUnpack(t *testing.T) {
	files := packed(t)
	for id, data := range files {
		for _, c := range stream.All() {
			if c.Sniff(data[:min(len(data), formats.HeadBytes)]) != (c.ID() == id) {
				t.Errorf("%s sniffs a %s file: %v", c.ID(), id, c.ID() != id)
			}
		}
		if got, findings := unpack(t, id, data, formats.Limits{}); !bytes.Equal(got, text) || len(findings) != 0 {
			t.Errorf("%s: %d bytes, %v", id, len(got), findings)
		}
	}
	data, err := hex.DecodeString(bzip2Text)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := unpack(t, "bzip2", data, formats.Limits{}); string(got) != "bzip2 bzip2 bzip2 tensors" || !stream.Bzip2().Sniff(data) {
		t.Errorf("bzip2: %q", got)
	}
}

func TestBrokenStreamsGiveWhatCameBefore(t *testing.T) {
	for id, data := range packed(t) {
		for _, n := range []int{len(data) - 1, len(data) / 2, 20, 3, 0} {
			m, err := container(t, id).Open(context.Background(), formats.BytesSource(data[:n]), formats.Limits{})
			var fe *formats.Error
			if err != nil {
				if m != nil || !errors.As(err, &fe) {
					t.Errorf("%s cut at %d: %v and %v", id, n, m, err)
				}
				continue
			}
			src := m.Files[0].Source
			b := make([]byte, src.Size())
			if err := formats.ReadFull(src, b, 0); err != nil || !bytes.HasPrefix(text, b) {
				t.Errorf("%s cut at %d: not the start of the text, %v", id, n, err)
			}
			if f := src.(formats.Noticer).Findings(); len(f) != 1 || f[0].Severity != formats.Unread {
				t.Errorf("%s cut at %d: findings %v", id, n, f)
			}
		}
	}
}

func TestTrailingBytes(t *testing.T) {
	for id, data := range packed(t) {
		if got, _ := unpack(t, id, append(bytes.Clone(data), "trailing garbage"...), formats.Limits{}); !bytes.Equal(got, text) {
			t.Errorf("%s: %d bytes", id, len(got))
		}
	}
}

// Databases keep packed values behind each other with other things between them.
func TestStreamsBetweenOtherThings(t *testing.T) {
	one := packed(t)["zstd"]
	for _, c := range []struct {
		name    string
		data    []byte
		members []int // their lengths, in texts
		finding formats.Severity
	}{
		{"one", one, []int{1}, ""},
		{"right behind each other", slices.Concat(one, one), []int{2}, ""},
		{"something between", slices.Concat(one, []byte("{}"), one, one, []byte("{\x28\xb5\x2f\xfd no frame"), one), []int{1, 2, 1}, formats.Warning},
		{"across a block", slices.Concat(one, make([]byte, 65534), one), []int{1, 1}, formats.Warning},
		{"far behind", slices.Concat(one, make([]byte, 200_000), one), []int{1, 1}, formats.Unread},
		{"much behind", slices.Concat(one, make([]byte, 70_000)), []int{1}, formats.Unread},
		{"cut", slices.Concat(one, []byte{0}, one[:len(one)-1]), []int{1}, formats.Warning},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := stream.Zstd().Open(t.Context(), formats.BytesSource(c.data), formats.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Files) != len(c.members) {
				t.Fatalf("%d members, findings %v", len(m.Files), m.Findings)
			}
			for i, f := range m.Files {
				b := make([]byte, f.Source.Size())
				if err := formats.ReadFull(f.Source, b, 0); err != nil || !bytes.Equal(b, bytes.Repeat(text, c.members[i])) {
					t.Errorf("%q: %d bytes, %v", f.Name, len(b), err)
				}
				if found := f.Source.(formats.Noticer).Findings(); len(found) > 0 {
					t.Errorf("%q: %v", f.Name, found)
				}
			}
			if c.finding == "" && len(m.Findings) > 0 || c.finding != "" && (len(m.Findings) != 1 || m.Findings[0].Severity != c.finding) {
				t.Errorf("findings %v", m.Findings)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	for id, data := range packed(t) {
		got, findings := unpack(t, id, data, formats.Limits{InflatedBytes: 1000})
		if len(got) != 1000 || len(findings) != 1 {
			t.Errorf("%s: %d bytes, %v", id, len(got), findings)
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, data := range packed(f) {
		f.Add(data)
	}
	data, err := hex.DecodeString(bzip2Text)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	one := packed(f)["zstd"]
	f.Add(slices.Concat(one, []byte("{}"), one, one, []byte("{\x28\xb5\x2f\xfd no frame"), one))
	f.Fuzz(func(t *testing.T, data []byte) {
		limits := formats.Limits{InflatedBytes: 1 << 20}
		for _, c := range stream.All() {
			if !c.Sniff(data) {
				continue
			}
			m, err := c.Open(context.Background(), formats.BytesSource(data), limits)
			if (m == nil) == (err == nil) {
				t.Fatalf("%s: %v and %v", c.ID(), m, err)
			}
		}
	})
}
