package snapshot

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/zeebo/blake3"
)

func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(rand.NewChaCha8([32]byte{seed}), b); err != nil {
		panic(err)
	}
	return b
}

func endsOf(base, next []byte) Ends {
	b, n := blake3.Sum256(base), blake3.Sum256(next)
	return Ends{hex.EncodeToString(b[:]), hex.EncodeToString(n[:]), int64(len(base)), int64(len(next))}
}

func roundTrip(t *testing.T, base, next []byte) []byte {
	t.Helper()
	d := MakeDelta(base, next, math.MaxInt)
	var out bytes.Buffer
	if err := ApplyDelta(&out, bytes.NewReader(d), bytes.NewReader(base), endsOf(base, next)); err != nil || !bytes.Equal(out.Bytes(), next) {
		t.Fatalf("%d bytes of a delta from %d to %d: %v", len(d), len(base), len(next), err)
	}
	return d
}

// table is what a registry has: sorted keys, then the entry of each.
func table(keys []uint64) []byte {
	slices.Sort(keys)
	var out []byte
	for _, k := range keys {
		out = binary.LittleEndian.AppendUint64(out, k)
	}
	for _, k := range keys {
		out = binary.LittleEndian.AppendUint32(out, uint32(k>>7)%1000)
	}
	return out
}

func TestDeltaSizes(t *testing.T) {
	b := noise(1, 1<<20)
	x := noise(2, 5000)
	r := rand.New(rand.NewPCG(1, 2))
	keys := make([]uint64, 100_000)
	for i := range keys {
		keys[i] = r.Uint64()
	}
	more := slices.Clone(keys)
	for range 100 {
		more = append(more, r.Uint64())
	}
	for name, c := range map[string]struct {
		base, next []byte
		most       int
	}{
		"same":         {b, b, 100},
		"nothing":      {nil, nil, 88},
		"from nothing": {nil, x, 5100},
		"to nothing":   {x, nil, 88},
		"appended":     {b, slices.Concat(b, x), 5110},
		"in front":     {b, slices.Concat(x, b), 5110},
		"in between":   {b, slices.Concat(b[:777], x, b[777:]), 5110},
		"taken out":    {b, slices.Concat(b[:777], b[7777:]), 110},
		"changed":      {b, slices.Concat(b[:99], []byte{^b[99]}, b[100:]), 120},
		"moved":        {b, slices.Concat(b[1<<19:], b[:1<<19]), 120},
		"twice":        {b, slices.Concat(b, b), 120},
		"unrelated":    {b, x, 5110},
		"tables":       {table(keys), table(more), 100*(12+8) + 500},
	} {
		if d := roundTrip(t, c.base, c.next); len(d) > c.most {
			t.Errorf("%s: %d bytes, more than %d", name, len(d), c.most)
		}
		if d := MakeDelta(c.base, c.next, 87); d != nil {
			t.Errorf("%s: %d bytes where 87 were the most", name, len(d))
		}
	}
}

// Whatever is wrong with a delta, nothing is taken for the result.
func TestHostileDeltas(t *testing.T) {
	base, next := noise(1, 10_000), slices.Concat(noise(1, 10_000)[:5000], noise(2, 100), noise(1, 10_000)[5000:])
	ends := endsOf(base, next)
	good := roundTrip(t, base, next)
	head := good[:deltaHeader]
	step := func(move int64, n, m uint64, own []byte) []byte {
		b := binary.AppendVarint(nil, move)
		return append(binary.AppendUvarint(binary.AppendUvarint(b, n), m), own...)
	}
	cases := map[string][]byte{
		"empty": nil, "head only": head, "cut": good[:len(good)-1], "goes on": append(slices.Clone(good), 0),
		"before the base": slices.Concat(head, step(-1, 10, 0, nil)), "behind the base": slices.Concat(head, step(9_999, 2, 0, nil)),
		"far away":     slices.Concat(head, step(math.MaxInt64, 1, 0, nil)),
		"far back":     slices.Concat(head, step(math.MinInt64, 1, 0, nil)),
		"huge copy":    slices.Concat(head, step(0, math.MaxUint64, 0, nil)),
		"huge sum":     slices.Concat(head, step(0, math.MaxUint64, 2, []byte("ab"))),
		"huge own":     slices.Concat(head, step(0, 0, math.MaxUint64, nil)),
		"empty step":   slices.Concat(head, step(0, 0, 0, nil), good[deltaHeader:]),
		"no bytes":     slices.Concat(head, step(0, 0, 10_100, nil)),
		"long varint":  slices.Concat(head, bytes.Repeat([]byte{0xff}, 20)),
		"other result": slices.Concat(head, step(0, 10_000, 100, noise(3, 100))),
		"version":      slices.Concat([]byte("WWDELTA\x02"), good[8:]),
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		cases["flip "+string(rune('a'+i%26))+hex.EncodeToString([]byte{byte(i >> 8), byte(i)})] = bad
	}
	for name, d := range cases {
		var out bytes.Buffer
		err := ApplyDelta(&out, bytes.NewReader(d), bytes.NewReader(base), ends)
		if !errors.Is(err, ErrMalformed) || int64(out.Len()) > ends.ResultBytes {
			t.Errorf("%s: %d bytes, %v", name, out.Len(), err)
		}
	}
	if err := ApplyDelta(io.Discard, bytes.NewReader(good), bytes.NewReader(noise(4, 10_000)), ends); !errors.Is(err, ErrMalformed) {
		t.Errorf("another base: %v", err)
	}
	if err := ApplyDelta(io.Discard, bytes.NewReader(good), bytes.NewReader(base[:100]), ends); !errors.Is(err, ErrMalformed) {
		t.Errorf("a short base: %v", err)
	}
	if err := ApplyDelta(io.Discard, bytes.NewReader(good), bytes.NewReader(base), Ends{Base: "x"}); !errors.Is(err, ErrMalformed) {
		t.Errorf("no ends: %v", err)
	}
}

// Any two blobs have a delta.
func FuzzDelta(f *testing.F) {
	f.Add([]byte("the base"), []byte("the next one"), uint16(3), uint16(50))
	f.Add(noise(1, 300), noise(2, 10), uint16(77), uint16(200))
	f.Fuzz(func(t *testing.T, a, b []byte, cut, end uint16) {
		base := bytes.Repeat(a, 1+min(20, 4096/(len(a)+1)))
		i := min(int(cut), len(base))
		j := min(max(int(end), i), len(base))
		roundTrip(t, base, slices.Concat(base[:i], b, base[j:]))
		roundTrip(t, a, b)
	})
}

// A hostile delta neither panics nor writes more than was announced.
func FuzzApplyDelta(f *testing.F) {
	base := noise(1, 1000)
	next := slices.Concat(base[:500], []byte("between"), base[500:])
	ends := endsOf(base, next)
	good := MakeDelta(base, next, math.MaxInt)
	f.Add(good[deltaHeader:])
	f.Add([]byte{0, 0xe8, 7, 0})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var out bytes.Buffer
		err := ApplyDelta(&out, bytes.NewReader(slices.Concat(good[:deltaHeader], steps)), bytes.NewReader(base), ends)
		if int64(out.Len()) > ends.ResultBytes || err == nil && !bytes.Equal(out.Bytes(), next) {
			t.Fatalf("%d bytes, %v", out.Len(), err)
		}
	})
}
