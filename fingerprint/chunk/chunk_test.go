package chunk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
)

var rule = Rule{C1: 0x9e3779b1, C2: 0x85ebca6b, Threshold: 1 << 20, Min: 1 << 10, Max: 32 << 10}

type piece struct {
	length  int
	sampled bool
}

// byDefinition cuts data as the package comment says.
func byDefinition(data []byte) (out []piece) {
	for len(data) > 0 {
		p, sampled := min(len(data), rule.Max), true
		for at := rule.Min; at+8 <= len(data) && at < rule.Max; at += 4 {
			v := binary.LittleEndian.Uint32(data[at:])*rule.C1 + binary.LittleEndian.Uint32(data[at+4:])*rule.C2
			if v < rule.Threshold {
				p, sampled = at, v < rule.Threshold/8
				break
			}
		}
		out = append(out, piece{p, sampled})
		data = data[p:]
	}
	return out
}

// made returns n random bytes, with a run of zeros in the middle where nothing cuts.
func made(n int) []byte {
	r := rand.New(rand.NewPCG(3, uint64(n)))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(r.Uint32())
	}
	clear(out[n/2 : n/2+n/8])
	for i := n / 2; i+4 <= n/2+n/8; i += 4 {
		out[i] = 0x81 // 0x81*(C1+C2) is far over the threshold
	}
	return out
}

func TestSplitFollowsDefinition(t *testing.T) {
	s := NewSplitter(rule, 1<<20)
	for _, n := range []int{0, 1, 7, 1024, 1031, 1032, 32 << 10, 32<<10 + 4, 100003, 1 << 20, 3<<20 + 5} {
		data := made(n)
		for name, r := range map[string]io.Reader{
			"plain": bytes.NewReader(data), "halves": iotest.HalfReader(bytes.NewReader(data)), "late EOF": iotest.DataErrReader(bytes.NewReader(data)),
		} {
			var got []piece
			var all, seen []byte
			total, err := s.SplitTee(r, func(block []byte) error { seen = append(seen, block...); return nil },
				func(b []byte, sampled bool) error {
					got, all = append(got, piece{len(b), sampled}), append(all, b...)
					return nil
				})
			if err != nil || total != int64(n) {
				t.Fatalf("%s reader, %d bytes: %d read, error %v", name, n, total, err)
			}
			if want := byDefinition(data); !slices.Equal(got, want) {
				t.Fatalf("%s reader, %d bytes: pieces %v, want %v", name, n, got, want)
			}
			if !bytes.Equal(all, data) || !bytes.Equal(seen, data) {
				t.Fatalf("%s reader, %d bytes: the pieces are not the bytes", name, n)
			}
		}
	}
}

// TestSampleOneInEight counts on random data.
func TestSampleOneInEight(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	data := make([]byte, 16<<20)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	chunks, sampled := 0, 0
	long := rule
	long.Max = 1 << 20 // so that hardly a chunk ends for its length
	_, err := NewSplitter(long, 1<<20).Split(bytes.NewReader(data), func(_ []byte, s bool) error {
		if chunks++; s {
			sampled++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if sampled < chunks/11 || sampled > chunks/6 {
		t.Errorf("%d of %d chunks sampled", sampled, chunks)
	}
}

func TestSplitErrors(t *testing.T) {
	data, boom := made(100000), errors.New("boom")
	got := 0
	n, err := NewSplitter(rule, 1<<20).Split(io.MultiReader(bytes.NewReader(data), iotest.ErrReader(boom)), func(b []byte, _ bool) error {
		got += len(b)
		return nil
	})
	if !errors.Is(err, boom) || n != int64(len(data)) || got != len(data) {
		t.Errorf("read error: %v after %d bytes, %d emitted", err, n, got)
	}
	if _, err := NewSplitter(rule, 1<<20).Split(bytes.NewReader(data), func([]byte, bool) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("error of emit: %v", err)
	}
}

func TestPlain(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want bool
	}{
		"nothing": {nil, true}, "zeros": {make([]byte, 50000), true}, "random": {made(100000)[:40000], false},
		"two values": {slices.Repeat([]byte{1, 2}, 5000), false}, "mostly one": {slices.Repeat([]byte{1, 1, 1, 1, 1, 1, 1, 1, 1, 2}, 5000), true},
	} {
		if got := Plain(c.data); got != c.want {
			t.Errorf("%s: Plain is %v", name, got)
		}
	}
}

// Bytes that come in blocks of any size are cut as a stream is.
func TestFeed(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	data := make([]byte, 3<<20+5)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	clear(data[1<<20 : 2<<20]) // chunks of the largest size
	rule := Rule{C1: 0x9e3779b1, C2: 0x85ebca77, Threshold: 1 << 16, Min: 16 << 10, Max: 256 << 10}
	collect := func(into *[]int) Emit {
		return func(b []byte, sampled bool) error {
			n := len(b) << 1
			if sampled {
				n++
			}
			*into = append(*into, n)
			return nil
		}
	}
	var want []int
	if _, err := NewSplitter(rule, 1<<20).Split(bytes.NewReader(data), collect(&want)); err != nil || len(want) < 8 {
		t.Fatal(len(want), err)
	}
	s := NewSplitter(rule, 1<<20)
	for _, most := range []int{7, 1000, 100_000, 1 << 20} {
		var got []int
		for at := 0; at < len(data); {
			n := min(1+rng.IntN(most), len(data)-at)
			if err := s.Feed(data[at:at+n], at == 0, collect(&got)); err != nil {
				t.Fatal(err)
			}
			at += n
		}
		if err := s.End(collect(&got)); err != nil || !slices.Equal(got, want) {
			t.Errorf("blocks of up to %d: %d chunks, want %d; %v", most, len(got), len(want), err)
		}
	}
}

// Streams are cut alike however long they were said to be.
func TestBufferGrows(t *testing.T) {
	for _, n := range []int{0, 1, 1000, 40 << 10, 300 << 10, 1 << 20} {
		data := made(max(n, 8))[:n]
		var want []int
		if _, err := NewSplitter(rule, math.MaxInt64-margin).Split(bytes.NewReader(data), lengths(&want)); err != nil {
			t.Fatal(err)
		}
		for _, said := range []int64{0, 1, int64(n) - 1, int64(n), int64(n) + 1, 50_000} {
			s := NewSplitter(rule, max(0, said))
			for range 2 { // anew, and with what it has by now
				var got []int
				if read, err := s.Split(bytes.NewReader(data), lengths(&got)); err != nil || read != int64(n) || !slices.Equal(got, want) {
					t.Errorf("%d bytes, said to be %d: %d read in %d chunks, want %d; %v", n, said, read, len(got), len(want), err)
				}
			}
		}
		if s := NewSplitter(rule, int64(n)); len(s.buf) > n+margin {
			t.Errorf("a buffer of %d for %d bytes", len(s.buf), n)
		}
	}
}

func lengths(into *[]int) Emit {
	return func(b []byte, _ bool) error {
		*into = append(*into, len(b))
		return nil
	}
}

// Window cuts as Split does, however much it is shown at a time.
func TestWindow(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{1, 1024, 40 << 10, 1 << 20, 3<<20 + 5} {
		data := made(n)
		s := NewSplitter(rule, 1<<20)
		var got []piece
		var all, seen []byte
		for cut, shown := 0, 0; cut < n; {
			end := min(n, shown+1+r.IntN(400<<10))
			used, err := s.Window(data[cut:end], shown-cut, end == n, func(b []byte) error {
				seen = append(seen, b...)
				return nil
			}, func(b []byte, sampled bool) error {
				got, all = append(got, piece{len(b), sampled}), append(all, b...)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			cut, shown = cut+used, end
		}
		if !slices.Equal(got, byDefinition(data)) || !bytes.Equal(all, data) || !bytes.Equal(seen, data) {
			t.Errorf("%d bytes: %d chunks of %d bytes, %d shown", n, len(got), len(all), len(seen))
		}
	}
	want := errors.New("enough")
	if n, err := NewSplitter(rule, 1<<20).Window(made(1<<20), 0, true, nil, func([]byte, bool) error { return want }); n != 0 || err != want {
		t.Errorf("%d, %v", n, err)
	}
}
