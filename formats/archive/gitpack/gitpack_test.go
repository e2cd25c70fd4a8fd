package gitpack_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/archive/gitpack"
)

func real(t testing.TB) []byte {
	b, err := os.ReadFile("testdata/real.pack")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stream is what testdata/gen.sh makes of a key.
func stream(t testing.TB, key byte, n int) []byte {
	block, err := aes.NewCipher(append(make([]byte, 15), key))
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, n)
	cipher.NewCTR(block, make([]byte, 16)).XORKeyStream(out, out)
	return out
}

func open(t testing.TB, data []byte, limits formats.Limits) (members [][]byte, codes []string, err error) {
	t.Helper()
	if !(gitpack.Container{}).Sniff(data[:min(len(data), formats.HeadBytes)]) {
		return nil, nil, formats.ErrNotRecognized
	}
	m, err := gitpack.Container{}.Open(context.Background(), formats.BytesSource(data), limits)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range m.Files {
		b := make([]byte, f.Source.Size())
		if err := formats.ReadFull(f.Source, b, 0); err != nil {
			t.Fatal(err)
		}
		members = append(members, b)
	}
	for _, f := range m.Findings {
		codes = append(codes, f.Code)
	}
	return members, codes, nil
}

func TestRealPack(t *testing.T) {
	members, codes, err := open(t, real(t), formats.Limits{})
	if err != nil || len(codes) != 0 {
		t.Fatal(codes, err)
	}
	for _, want := range [][]byte{stream(t, 1, 20000), stream(t, 2, 30000)} {
		if !slices.ContainsFunc(members, func(m []byte) bool { return bytes.Equal(m, want) }) {
			t.Errorf("%d bytes were not found", len(want))
		}
	}
	if len(members) != 3 { // and the newer text
		t.Errorf("%d members", len(members))
	}
}

// object is one of a pack; size is what its header says, negative for what it has.
type object struct {
	kind   byte
	before []byte // what a difference has in front of its stream
	data   []byte
	size   int
}

func pack(t testing.TB, objects ...object) []byte {
	out := binary.BigEndian.AppendUint32(append([]byte("PACK"), 0, 0, 0, 2), uint32(len(objects)))
	for _, o := range objects {
		n := o.size
		if n < 0 {
			n = len(o.data)
		}
		b := o.kind<<4 | byte(n&15)
		for n >>= 4; n > 0; n >>= 7 {
			out, b = append(out, b|0x80), byte(n&0x7f)
		}
		out = append(append(out, b), o.before...)
		var z bytes.Buffer
		w := zlib.NewWriter(&z)
		if _, err := w.Write(o.data); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		out = append(out, z.Bytes()...)
	}
	return append(out, make([]byte, 20)...)
}

func delta(result uint64) []byte { return binary.AppendUvarint(binary.AppendUvarint(nil, 100), result) }

func TestObjects(t *testing.T) {
	big := stream(t, 3, 50000)
	for name, c := range map[string]struct {
		pack    []byte
		members [][]byte
		codes   []string
		limits  formats.Limits
	}{
		"kinds": {pack(t, object{1, nil, []byte("commit"), -1}, object{3, nil, []byte("small"), -1}, object{2, nil, big, -1}, object{3, nil, big, -1}, object{4, nil, []byte("tag"), -1}),
			[][]byte{big}, nil, formats.Limits{}},
		"small differences": {pack(t, object{6, []byte{0x81, 0x80, 5}, delta(1000), -1}, object{7, make([]byte, 20), delta(1000), -1}, object{3, nil, big, -1}), [][]byte{big}, nil, formats.Limits{}},
		"large difference":  {pack(t, object{6, []byte{5}, delta(100 << 20), -1}, object{3, nil, big, -1}), [][]byte{big}, []string{"gitpack.delta"}, formats.Limits{}},
		"says less":         {pack(t, object{3, nil, big, 40000}, object{3, nil, big, -1}), [][]byte{big}, []string{"gitpack.damaged"}, formats.Limits{}},
		"says more":         {pack(t, object{3, nil, big, 60000}, object{3, nil, big, -1}), [][]byte{big}, []string{"gitpack.damaged"}, formats.Limits{}},
		"other type":        {pack(t, object{3, nil, big, -1}, object{5, nil, big, -1}), [][]byte{big}, []string{"gitpack.damaged"}, formats.Limits{}},
		"too much":          {pack(t, object{3, nil, big, -1}, object{3, nil, big, -1}), [][]byte{big}, []string{"gitpack.damaged"}, formats.Limits{Members: 1}},
		"unpacks to more":   {pack(t, object{1, nil, make([]byte, 5000), -1}, object{3, nil, big, -1}), nil, []string{"gitpack.damaged"}, formats.Limits{InflatedBytes: 4000}},
	} {
		members, codes, err := open(t, c.pack, c.limits)
		if err != nil || !slices.EqualFunc(members, c.members, bytes.Equal) || !slices.Equal(codes, c.codes) {
			t.Errorf("%s: %d members, %q, %v", name, len(members), codes, err)
		}
	}
}

// Wherever a pack breaks, the blobs before are there and the break is told.
func TestDamage(t *testing.T) {
	good := real(t)
	for n := range len(good) - 20 {
		if n%97 != 0 && n > 400 && n < len(good)-200 {
			continue
		}
		members, codes, err := open(t, good[:n], formats.Limits{})
		if err == nil && !slices.Contains(codes, "gitpack.damaged") {
			t.Fatalf("cut to %d bytes: %d members, %q", n, len(members), codes)
		}
		bad := slices.Clone(good)
		bad[n] ^= 0x41
		if _, _, err := open(t, bad, formats.Limits{}); err != nil && !errors.Is(err, formats.ErrNotRecognized) {
			t.Fatalf("byte %d: %v", n, err)
		}
	}
	if _, err := (gitpack.Container{}).Open(context.Background(), formats.BytesSource(pack(t)), formats.Limits{}); !errors.Is(err, formats.ErrMalformed) {
		t.Errorf("no objects: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := (gitpack.Container{}).Open(ctx, formats.BytesSource(good), formats.Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

func FuzzPack(f *testing.F) {
	f.Add(real(f))
	f.Add(pack(f, object{6, []byte{0x81, 5}, delta(100 << 20), -1}, object{7, make([]byte, 20), delta(7), -1}, object{3, nil, []byte("x"), -1}))
	f.Add(pack(f, object{3, nil, make([]byte, 1<<16), 1 << 40}))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, _ = open(t, data, formats.Limits{InflatedBytes: 8 << 20})
	})
}
