// Package chunk cuts a stream of bytes into content-defined chunks (layer E).
//
// A chunk ends before the first position p, a multiple of 4 counted from the
// start of the stream and at least Min after the chunk's start, where
//
//	load32(p)*C1 + load32(p+4)*C2 < Threshold     (32-bit little-endian, wrapping)
//
// or after Max bytes. The two multiplications need 4 bytes of alignment, which
// numbers in model files have, and suit vector units without 64-bit multiplies.
// Chunks of a copied run agree with those of the original as soon as both have
// passed one common cut. docs/fingerprint-spec.md has sizes and speeds.
package chunk

import (
	"encoding/binary"
	"io"
	"math"
	"slices"

	"weightwarden/fingerprint/internal/simd"
)

// Rule is where to cut.
type Rule struct {
	C1, C2    uint32 // odd multipliers, drawn from the key
	Threshold uint32
	Min, Max  int // bytes; multiples of 4
}

// readAhead is how much is asked of the reader at once, and window how much of the
// buffer is used as long as chunks fit: what was just read is cut, hashed and
// decoded while it still lies in a core's own cache.
const (
	readAhead = 128 << 10
	window    = 384 << 10
)

// Splitter cuts one stream after the other, reusing its buffer. It is not safe
// for concurrent use.
type Splitter struct {
	rule       Rule
	buf        []byte
	start, end int // unemitted bytes in buf
	searched   int // of them, without a cut
}

// NewSplitter returns a splitter with a buffer for streams of so many bytes, of Max + 128 KiB at most, which it
// makes larger when a longer stream comes.
func NewSplitter(rule Rule, longest int64) *Splitter {
	s := &Splitter{rule: rule}
	s.grow(longest + margin)
	return s
}

// margin is room for one more read behind the end of a stream.
const margin = 8

// grow makes room for want bytes, or for as many as are ever needed.
func (s *Splitter) grow(want int64) {
	buf := make([]byte, min(want, int64(s.rule.Max+readAhead+margin)))
	copy(buf, s.buf[:s.end])
	s.buf = buf
}

// sampleOneIn is how many chunks there are for each one that Split calls sampled.
const sampleOneIn = 8

// Emit takes a chunk; its bytes are valid during the call only. One chunk in eight
// is sampled, whichever file it is found in: those whose cut has a value in the
// lowest eighth below the threshold. So is every chunk that no cut ended.
type Emit func(data []byte, sampled bool) error

// Split reads r to its end and calls emit for every chunk in order. It returns the bytes read, and the error of r if
// there is one: what was read before it has been emitted.
func (s *Splitter) Split(r io.Reader, emit Emit) (int64, error) {
	return s.SplitTee(r, nil, emit)
}

// SplitTee is Split that also shows every block of bytes, as read, to tee.
func (s *Splitter) SplitTee(r io.Reader, tee func(block []byte) error, emit Emit) (int64, error) {
	var total int64
	s.start, s.end, s.searched = 0, 0, 0
	for {
		block := s.room()
		n, err := io.ReadFull(r, block)
		if n > 0 && tee != nil {
			if err := tee(block[:n]); err != nil {
				return total, err
			}
		}
		total += int64(n)
		last := err != nil
		if err := s.take(n, last, emit); err != nil {
			return total, err
		}
		if last {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				err = nil
			}
			return total, err
		}
	}
}

// Feed is Split for bytes that come one block after the other, beginning with one for
// which first says so; End cuts what is left.
func (s *Splitter) Feed(block []byte, first bool, emit Emit) error {
	if first {
		s.start, s.end, s.searched = 0, 0, 0
	}
	for len(block) > 0 {
		n := copy(s.room(), block)
		if err := s.take(n, false, emit); err != nil {
			return err
		}
		block = block[n:]
	}
	return nil
}

// End cuts what is left of a stream that was fed.
func (s *Splitter) End(emit Emit) error { return s.take(0, true, emit) }

// room is where the next bytes belong.
func (s *Splitter) room() []byte {
	if s.start > 0 && s.end+readAhead > min(window, len(s.buf)) {
		copy(s.buf, s.buf[s.start:s.end])
		s.start, s.end = 0, s.end-s.start
	}
	if s.end == len(s.buf) { // longer than was said: as a rule, all of it is needed then
		s.grow(math.MaxInt64)
	}
	return s.buf[s.end:min(len(s.buf), s.end+readAhead)]
}

// take cuts after n bytes more.
func (s *Splitter) take(n int, last bool, emit Emit) error {
	s.end += n
	used, err := s.chunks(s.buf[s.start:s.end], s.searched, last, emit)
	s.start += used
	s.searched = s.end - s.start
	return err
}

// chunks emits the chunks that end in data and returns what they take. The first
// searched bytes hold no cut.
func (s *Splitter) chunks(data []byte, searched int, last bool, emit Emit) (used int, err error) {
	for used < len(data) {
		cut, sampled := s.cut(data[used:], searched, last)
		if cut == 0 {
			break
		}
		if err := emit(data[used:used+cut], sampled); err != nil {
			return used, err
		}
		used, searched = used+cut, 0
	}
	return used, nil
}

// Window is Split for a part of a stream that lies in memory: it emits the chunks
// that end in data and returns what they take. Data begins where a chunk does; its first
// shown bytes were seen by the call before, and what that did not take comes again.
// Every block of the others is shown to tee. last says that the stream ends here.
func (s *Splitter) Window(data []byte, shown int, last bool, tee func(block []byte) error, emit Emit) (used int, err error) {
	for end := shown; end < len(data); {
		block := data[end:min(len(data), end+readAhead)]
		end += len(block)
		n, err := s.chunks(data[used:end], max(0, end-len(block)-used), last && end == len(data), emit)
		used += n
		if err == nil && tee != nil {
			err = tee(block) // after the search, which brings the bytes into the cache in order
		}
		if err != nil {
			return used, err
		}
	}
	return used, nil
}

// cut returns the length of the first chunk of data and whether it is sampled; 0
// where more bytes are needed to know. The first searched bytes hold no cut.
func (s *Splitter) cut(data []byte, searched int, last bool) (length int, sampled bool) {
	r := &s.rule
	head := data[:min(len(data), r.Max+4)]
	if len(data) > r.Min {
		from := max(r.Min, searched-8) // the last positions searched lacked bytes
		if p := simd.FindCut(head, r.C1, r.C2, r.Threshold, from); p > 0 && p < r.Max {
			value := binary.LittleEndian.Uint32(data[p:])*r.C1 + binary.LittleEndian.Uint32(data[p+4:])*r.C2
			return p, value < r.Threshold/sampleOneIn
		}
	}
	switch {
	case len(data) >= r.Max+4:
		return r.Max, true
	case last:
		return min(len(data), r.Max), true
	}
	return 0, false
}

// Plain reports whether data carries next to no information: a sample of its
// bytes has an entropy under one bit a byte. Such chunks (zeros, masks, padding)
// are found in many unrelated files and are no evidence.
func Plain(data []byte) bool {
	const sample = 1024
	step := max(1, len(data)/sample)
	// A stride that shares no factor with element widths sees every byte position.
	if step > 1 {
		step |= 1
	}
	var seen [256]int
	n := 0
	for i := 0; i < len(data) && n < sample; i += step {
		seen[data[i]]++
		n++
	}
	if n == 0 {
		return true
	}
	if slices.Max(seen[:]) <= n/2 {
		return false // the entropy is at least -log2 of the largest share
	}
	return entropy(&seen, n) < 1
}
