package formatstest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"weightwarden/formats"
)

// Case is one good file that the suite takes apart.
type Case struct {
	Name string
	Data []byte
	// Folder holds the files beside it, nil for none.
	Folder Folder
	// Header is how many bytes from the start are worth damaging one by one;
	// 0 means all of the file up to 4096.
	Header int
	// Tensors is how many tensors the file has.
	Tensors int
	// Open says that a file which ends between two parts is a whole one in the
	// eyes of the format (protobuf).
	Open bool
}

func (c Case) source(data []byte) formats.Source {
	return folderSource{BytesSource: data, dir: c.Folder}
}

func (c Case) header() int {
	if c.Header > 0 {
		return min(c.Header, len(c.Data))
	}
	return min(len(c.Data), 4096)
}

// Run checks that dec reads every case, and keeps its promises for every copy of
// it that is cut short at any length, has a byte changed, or has a length field
// of any width at any place set to zero, the maximum, or a number that wraps.
func Run(t *testing.T, dec formats.Decoder, corpus []Case) {
	if len(corpus) == 0 {
		t.Fatal("no corpus")
	}
	t.Run("empty", func(t *testing.T) {
		if m, err := Check(t, dec, formats.BytesSource(nil), formats.Limits{}); err == nil {
			t.Errorf("an empty file is a model: %+v", m)
		}
	})
	for _, c := range corpus {
		t.Run(c.Name, func(t *testing.T) {
			runWhole(t, dec, c)
			t.Run("truncated", func(t *testing.T) { runTruncated(t, dec, c) })
			t.Run("bytes", func(t *testing.T) { runBytes(t, dec, c) })
			t.Run("lengths", func(t *testing.T) { runLengths(t, dec, c) })
			t.Run("limits", func(t *testing.T) { runLimits(t, dec, c) })
			t.Run("cancelled", func(t *testing.T) { runCancelled(t, dec, c) })
		})
	}
}

func runWhole(t *testing.T, dec formats.Decoder, c Case) {
	if !sniffs(dec, c.Data) {
		t.Errorf("Sniff misses the file")
	}
	m, err := Check(t, dec, c.source(c.Data), formats.Limits{})
	if err != nil {
		t.Fatalf("Decode: %v", err)
	}
	if len(m.Tensors) != c.Tensors {
		t.Errorf("%d tensors, want %d", len(m.Tensors), c.Tensors)
	}
}

func sniffs(dec formats.Decoder, data []byte) bool {
	if dec.Sniff(data[:min(len(data), formats.HeadBytes)]) {
		return true
	}
	ts, ok := dec.(formats.TailSniffer)
	return ok && ts.SniffTail(data[max(0, len(data)-formats.TailBytes):])
}

// runTruncated cuts at every length up to the header's end, then at about 256
// lengths of the rest. A cut file does not read as a whole one without a finding.
func runTruncated(t *testing.T, dec formats.Decoder, c Case) {
	step := 1
	for n := 0; n < len(c.Data); n += step {
		if n >= c.header() {
			step = 1 + (len(c.Data)-c.header())/256
		}
		cut := c.Data[:n:n]
		sniffs(dec, cut)
		m, err := Check(t, dec, c.source(cut), formats.Limits{})
		if err == nil && !c.Open && len(m.Findings) == 0 && len(m.Tensors) < c.Tensors {
			t.Errorf("cut at %d: %d of %d tensors and not a word about it", n, len(m.Tensors), c.Tensors)
		}
		if t.Failed() {
			t.Fatalf("cut at %d of %d", n, len(c.Data))
		}
	}
}

func runBytes(t *testing.T, dec formats.Decoder, c Case) {
	for i := range c.header() {
		for _, to := range []byte{c.Data[i] ^ 0xff, c.Data[i] ^ 1, c.Data[i] ^ 0x80, 0} {
			try(t, dec, c, i, []byte{to}, check)
		}
	}
}

// runLengths writes hostile numbers of every width over every place, so that no
// length field is forgotten.
func runLengths(t *testing.T, dec formats.Decoder, c Case) {
	for i := range c.header() {
		for _, v := range []uint64{0, 1<<64 - 1, 1<<63 - 1, 1 << 63, 1 << 62, 1 << 40, 0 - uint64(i), uint64(len(c.Data)) + 1} {
			b := binary.LittleEndian.AppendUint64(nil, v)
			try(t, dec, c, i, b, Check)
			try(t, dec, c, i, b[:4], check)
			try(t, dec, c, i, b[:2], check)
			try(t, dec, c, i, binary.BigEndian.AppendUint64(nil, v), check)
		}
	}
}

// checker is Check, or check where a look at the memory would cost more than the
// decoding.
type checker func(testing.TB, formats.Decoder, formats.Source, formats.Limits) (*formats.Model, error)

func try(t *testing.T, dec formats.Decoder, c Case, at int, b []byte, check checker) {
	data := append([]byte(nil), c.Data...)
	copy(data[at:], b)
	sniffs(dec, data)
	if _, err := check(t, dec, c.source(data), formats.Limits{}); t.Failed() {
		t.Fatalf("bytes %x at %d (error %v)", b, at, err)
	}
}

// runLimits decodes under limits that the file exceeds.
func runLimits(t *testing.T, dec formats.Decoder, c Case) {
	for i, l := range []formats.Limits{{Tensors: 1}, {HeaderBytes: 16}, {HeaderBytes: 100}, {Depth: 1},
		{Members: 1}, {InflatedBytes: 16}, {NameBytes: 1}, {Findings: 1}} {
		t.Run(fmt.Sprint(i), func(t *testing.T) { Check(t, dec, c.source(c.Data), l) })
	}
}

func runCancelled(t *testing.T, dec formats.Decoder, c Case) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if m, err := dec.Decode(ctx, c.source(c.Data), formats.Limits{}); m != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled Decode returned a model: %v, error %v", m != nil, err)
	}
}

// Fuzz runs the checks on whatever the fuzzer makes of the corpus. What a decoder
// allocates is not measured there, since that costs more than the decoding.
func Fuzz(f *testing.F, dec formats.Decoder, corpus []Case) {
	var folder Folder
	for _, c := range corpus {
		f.Add(c.Data)
		if c.Folder != nil {
			folder = c.Folder
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		sniffs(dec, data)
		_, _ = check(t, dec, folderSource{BytesSource: data, dir: folder}, formats.Limits{})
	})
}
