package flax

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/formatstest"
	"weightwarden/internal/fixtures"
)

func files(tb testing.TB) []string {
	tb.Helper()
	paths, err := filepath.Glob(fixtures.Path(tb, "fixtures", "flax", "*.msgpack"))
	if err != nil || len(paths) != 3 {
		tb.Fatal(paths, err)
	}
	return paths
}

// What Flax wrote is read as Flax reads it.
func TestFlax(t *testing.T) {
	for _, path := range files(t) {
		t.Run(filepath.Base(path), func(t *testing.T) { formatstest.Expect(t, Decoder{}, path) })
	}
}

func read(tb testing.TB, path string) []byte {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	var corpus []formatstest.Case
	for _, path := range files(t) {
		tensors := map[string]int{"model": 42, "types": 11, "chunked": 3}[strings.TrimSuffix(filepath.Base(path), ".msgpack")]
		corpus = append(corpus, formatstest.Case{Name: filepath.Base(path), Data: read(t, path), Header: 700, Tensors: tensors})
	}
	formatstest.Run(t, Decoder{}, corpus)
}

// str, ext, array and entries write what the tests need of MessagePack.
func str(s string) []byte { return append([]byte{0xa0 | byte(len(s))}, s...) }

func ext(kind byte, b []byte) []byte {
	return append(append([]byte{0xc9}, binary.BigEndian.AppendUint32(nil, uint32(len(b)))...), append([]byte{kind}, b...)...)
}

func array(dtype string, data []byte, shape ...byte) []byte {
	out := slices.Concat([]byte{0x93, 0x90 | byte(len(shape))}, shape, str(dtype), []byte{0xc6}, binary.BigEndian.AppendUint32(nil, uint32(len(data))), data)
	return ext(extArray, out)
}

func entries(kv ...[]byte) []byte {
	return append([]byte{0x80 | byte(len(kv)/2)}, slices.Concat(kv...)...)
}

func TestHostile(t *testing.T) {
	eight := make([]byte, 8)
	good := array("float32", eight, 2)
	for name, c := range map[string]struct {
		data    []byte
		tensors int
		codes   []string
		err     error
	}{
		"no array":       {entries(str("key"), str("a value of some length")), 0, nil, formats.ErrNotRecognized},
		"deep":           {append(slices.Repeat(entries(str("a"), nil)[:3], 100), 0xc0), 0, nil, formats.ErrNotRecognized},
		"number as key":  {append(entries([]byte{7}, good), eight...), 0, nil, formats.ErrNotRecognized},
		"unknown type":   {entries(str("w"), array("float4", eight, 16)), 1, []string{"flax.type"}, nil},
		"shape too long": {entries(str("w"), array("float32", eight, 2, 2, 2)), 1, []string{"flax.size"}, nil},
		"shape short":    {entries(str("w"), array("float32", eight, 1)), 1, []string{"flax.size"}, nil},
		"no shape":       {entries(str("v"), good, str("w"), ext(extArray, entries(str("a"), str("b")))), 1, []string{"flax.broken"}, nil},
		"what follows":   {append(entries(str("w"), good), "more"...), 1, []string{"flax.after"}, nil},
		"bad marker":     {entries(str("w"), good, str("x"), []byte{0xc1}), 1, []string{"flax.broken"}, nil},
		"cut":            {entries(str("w"), array("float32", make([]byte, 64), 8, 2))[:60], 1, []string{"flax.truncated"}, nil},
		"no chunks":      {entries(str("v"), good, str("w"), append([]byte{0x81, 0xd9, byte(len(chunked))}, chunked...)), 1, []string{"flax.broken"}, nil},
	} {
		m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(c.data), formats.Limits{})
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
		if m == nil {
			continue
		}
		var codes []string
		for _, f := range m.Findings {
			codes = append(codes, f.Code)
		}
		if len(m.Tensors) != c.tensors || !slices.Equal(codes, c.codes) {
			t.Errorf("%s: %d tensors, %q", name, len(m.Tensors), codes)
		}
	}
}

// Other MessagePack files are given up early.
func TestOthers(t *testing.T) {
	long := append([]byte{0x81}, str("list")...)
	long = append(append(long, 0xdd, 0, 0x40, 0, 0), make([]byte, 4<<20)...)
	_, err := Decoder{}.Decode(context.Background(), formats.BytesSource(long), formats.Limits{})
	if !errors.Is(err, formats.ErrNotRecognized) {
		t.Error(err)
	}
	for _, head := range []string{"\x80\xa1abcdefgh", "\x81\x01abcdefgh", "PK\x03\x04\x00\x00\x00\x00", "\x81"} {
		if (Decoder{}).Sniff([]byte(head)) {
			t.Errorf("%q is taken for Flax", head)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, path := range files(f) {
		f.Add(read(f, path))
	}
	f.Add(entries(str("w"), array("float32", make([]byte, 8), 2)))
	f.Fuzz(func(t *testing.T, data []byte) {
		formatstest.Check(t, Decoder{}, formats.BytesSource(data), formats.Limits{})
	})
}
