package text

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"

	"weightwarden/formats"
	"weightwarden/formats/archive"
)

const numbersID formats.ID = "numbers"

// Numbers is weights printed in decimal: rows of a table, lists in JSON or a program. It is read as float32 values one
// behind another.
type Numbers struct{}

// ID implements formats.Container.
func (Numbers) ID() formats.ID { return numbersID }

const (
	leastDecimals = 24 // numbers of a head with a point and leastDigits digits: measurements have fewer, counts no point
	leastDigits   = 4
)

// Sniff implements formats.Container: most of it is numbers, and many have a point.
func (Numbers) Sniff(head []byte) bool {
	if len(head) < leastHead {
		return false
	}
	decimals, within := 0, 0
	w := words{each: func(word []byte) {
		if _, ok := number(word); ok {
			within += len(word) + 1
			if decimal(word) {
				decimals++
			}
		}
	}}
	w.write(head)
	return decimals >= leastDecimals && within > len(head)/2
}

// decimal reports whether a number has a point and digits enough.
func decimal(word []byte) bool {
	point, digits := false, 0
	for _, c := range word {
		point = point || c == '.'
		if c >= '0' && c <= '9' {
			digits++
		}
	}
	return point && digits >= leastDigits
}

// Open implements formats.Container.
func (Numbers) Open(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Members, error) {
	if !formats.SpoolOf(ctx, limits).Member() {
		return nil, formats.Errorf(numbersID, "member", 0, formats.ErrLimit, "more members than allowed")
	}
	size := min(src.Size(), searchBytes)
	u := archive.NewUnpacked(ctx, archive.Stream{Format: numbersID, Packed: size,
		Open: func() (io.Reader, error) { return newFloats(io.NewSectionReader(src, 0, size)), nil }}, limits)
	if u.Size() == 0 {
		return nil, formats.Errorf(numbersID, "text", 0, formats.ErrMalformed, "no number in it")
	}
	var set archive.Set
	set.Add("", u)
	findings := u.Findings()
	if src.Size() > size {
		findings = append(findings, formats.Finding{Code: "numbers.search", Severity: formats.Info, Offset: size,
			Text: fmt.Sprintf("numbers were read from the first %d bytes of the text only", size)})
	}
	return set.Members(findings), nil
}

// floats turns text into the float32 values of its numbers, little endian.
type floats struct {
	in    *bufio.Reader
	buf   []byte
	words words
	out   []byte
	err   error
}

func newFloats(r io.Reader) *floats {
	f := &floats{in: bufio.NewReader(r), buf: make([]byte, 32<<10)}
	f.words.each = func(word []byte) {
		if v, ok := number(word); ok {
			f.out = binary.LittleEndian.AppendUint32(f.out, math.Float32bits(v))
		}
	}
	return f
}

// Read implements io.Reader.
func (f *floats) Read(p []byte) (int, error) {
	for len(f.out) == 0 {
		if f.err != nil {
			return 0, f.err
		}
		f.out = f.out[:0]
		var n int
		n, f.err = f.in.Read(f.buf)
		f.words.write(f.buf[:n])
		if f.err != nil {
			f.words.flush()
		}
	}
	n := copy(p, f.out)
	f.out = f.out[n:]
	return n, nil
}

// mostWord is how long a word may be to be a number.
const mostWord = 48

// words cuts text where no name or number goes on.
type words struct {
	each func(word []byte)
	word []byte
	long bool // the word is longer than any number, what came first is in word
}

func (w *words) write(b []byte) {
	for _, c := range b {
		if c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '.' || c == '+' || c == '-' || c == '_' {
			if w.long = w.long || len(w.word) == mostWord; !w.long {
				w.word = append(w.word, c)
			}
			continue
		}
		w.flush()
	}
}

func (w *words) flush() {
	if len(w.word) > 0 && !w.long {
		w.each(w.word)
	}
	w.word, w.long = w.word[:0], false
}

// number reads a decimal number; names that begin like one, hexadecimal ones and what is infinite are none.
func number(word []byte) (float32, bool) {
	for _, c := range word {
		if (c < '0' || c > '9') && c != '.' && c != '+' && c != '-' && c|0x20 != 'e' {
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(string(word), 32)
	return float32(v), err == nil
}
