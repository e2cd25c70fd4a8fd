// Package jsonstream reads JSON (RFC 8259) of hostile files piece by piece out of
// a part of a Source: nothing is held but what the caller asks for, nothing
// recurses, duplicate keys are all seen, and every error has an offset.
package jsonstream

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"unicode/utf16"
	"unicode/utf8"

	"weightwarden/formats"
)

const window = 64 << 10

// Reader reads the JSON value that lies in a part of a Source.
type Reader struct {
	src       io.ReaderAt
	next, end int64 // what of the source is not in buf yet
	buf       []byte
	pos       int
	// BadText counts strings that were no valid UTF-8 or had half a surrogate.
	BadText int
}

// New returns a Reader of length bytes of src from offset on.
func New(src io.ReaderAt, offset, length int64) *Reader {
	return &Reader{src: src, next: offset, end: offset + length}
}

// Offset is the place of the next byte in the source.
func (r *Reader) Offset() int64 { return r.next - int64(len(r.buf)-r.pos) }

// fill reads the next window; at the end it gives ErrTruncated.
func (r *Reader) fill() error {
	n := min(window, r.end-r.next)
	if n <= 0 {
		return fmt.Errorf("%w: the JSON text ends too early", formats.ErrTruncated)
	}
	if cap(r.buf) < int(n) {
		r.buf = make([]byte, n)
	}
	r.buf, r.pos = r.buf[:n], 0
	if err := formats.ReadFull(r.src, r.buf, r.next); err != nil {
		r.buf = r.buf[:0]
		return err
	}
	r.next += n
	return nil
}

// Peek returns the next byte that is no white space, without taking it.
func (r *Reader) Peek() (byte, error) {
	for {
		for ; r.pos < len(r.buf); r.pos++ {
			switch c := r.buf[r.pos]; c {
			case ' ', '\t', '\n', '\r':
			default:
				return c, nil
			}
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
}

func (r *Reader) malformed(want string, c byte) error {
	return fmt.Errorf("%w: %q where %s should be", formats.ErrMalformed, string(rune(c)), want)
}

// Expect takes the next byte that is no white space, which has to be c.
func (r *Reader) Expect(c byte) error {
	got, err := r.Peek()
	if err != nil {
		return err
	}
	if got != c {
		return r.malformed(string(rune(c)), got)
	}
	r.pos++
	return nil
}

// Object takes an object and calls member for every key in file order; member
// has to take the value. The key is valid during the call and cut to maxKey
// bytes.
func (r *Reader) Object(maxKey int, member func(key []byte, cut bool) error) error {
	if err := r.Expect('{'); err != nil {
		return err
	}
	if c, err := r.Peek(); err != nil || c == '}' {
		r.take(err)
		return err
	}
	var store []byte
	for {
		key, cut, err := r.String(store[:0], maxKey)
		if err != nil {
			return err
		}
		store = key
		if err := r.Expect(':'); err != nil {
			return err
		}
		if err := member(key, cut); err != nil {
			return err
		}
		if done, err := r.more('}'); done || err != nil {
			return err
		}
	}
}

// Array takes an array and calls element before every value, which element has
// to take.
func (r *Reader) Array(element func() error) error {
	if err := r.Expect('['); err != nil {
		return err
	}
	if c, err := r.Peek(); err != nil || c == ']' {
		r.take(err)
		return err
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if done, err := r.more(']'); done || err != nil {
			return err
		}
	}
}

func (r *Reader) take(err error) {
	if err == nil {
		r.pos++
	}
}

func (r *Reader) more(closing byte) (done bool, err error) {
	c, err := r.Peek()
	switch {
	case err != nil:
		return false, err
	case c == closing:
		r.pos++
		return true, nil
	case c == ',':
		r.pos++
		return false, nil
	}
	return false, r.malformed("',' or the end", c)
}

// String takes a string and appends its contents to dst, at most max bytes; cut
// says that there were more.
func (r *Reader) String(dst []byte, max int) (out []byte, cut bool, err error) {
	if err := r.Expect('"'); err != nil {
		return dst, false, err
	}
	bad, start := false, len(dst)
	for {
		if r.pos == len(r.buf) {
			if err := r.fill(); err != nil {
				return dst, false, err
			}
		}
		n := plain(r.buf[r.pos:])
		part := r.buf[r.pos : r.pos+n]
		if room := max - (len(dst) - start); cut {
			part = nil
		} else if n > room {
			part, cut = part[:room], true
		}
		dst = append(dst, part...)
		if r.pos += n; r.pos == len(r.buf) {
			continue
		}
		c := r.buf[r.pos]
		r.pos++
		if c == '"' {
			break
		}
		if c != '\\' {
			bad = true // a bare control character
			dst, cut = appendCut(dst, start, max, cut, c)
			continue
		}
		e, ok, err := r.escape()
		if err != nil {
			return dst, false, err
		}
		bad = bad || !ok
		dst, cut = appendCut(dst, start, max, cut, utf8.AppendRune(nil, e)...)
	}
	if bad || !cut && !utf8.Valid(dst[start:]) {
		r.BadText++
	}
	return dst, cut, nil
}

func appendCut(dst []byte, start, max int, cut bool, b ...byte) ([]byte, bool) {
	if cut || len(dst)-start+len(b) > max {
		return dst, true
	}
	return append(dst, b...), false
}

// plain is the length of the start of b that needs no thought.
func plain(b []byte) int {
	n := bytes.IndexByte(b, '"')
	if n < 0 {
		n = len(b)
	}
	for i, c := range b[:n] {
		if c == '\\' || c < ' ' {
			return i
		}
	}
	return n
}

func (r *Reader) byte() (byte, error) {
	if r.pos == len(r.buf) {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	r.pos++
	return r.buf[r.pos-1], nil
}

// escape takes what follows a back-slash; false for half a surrogate pair.
func (r *Reader) escape() (rune, bool, error) {
	c, err := r.byte()
	if err != nil {
		return 0, false, err
	}
	if c != 'u' {
		if i := bytes.IndexByte([]byte(`"\/bfnrt`), c); i >= 0 {
			return rune("\"\\/\b\f\n\r\t"[i]), true, nil
		}
		return 0, false, r.malformed("an escape", c)
	}
	first, err := r.hex4()
	if err != nil || !utf16.IsSurrogate(first) {
		return first, true, err
	}
	for _, want := range []byte(`\u`) {
		if c, err = r.byte(); err != nil {
			return 0, false, err
		}
		if c != want {
			r.pos-- // never crosses a window: byte has just taken one
			return utf8.RuneError, false, nil
		}
	}
	second, err := r.hex4()
	both := utf16.DecodeRune(first, second)
	return both, both != utf8.RuneError, err
}

func (r *Reader) hex4() (rune, error) {
	var v rune
	for range 4 {
		c, err := r.byte()
		if err != nil {
			return 0, err
		}
		d := bytes.IndexByte([]byte("0123456789abcdef"), c|0x20)
		if d < 0 || c < '0' {
			return 0, r.malformed("a hexadecimal digit", c)
		}
		v = v<<4 | rune(d)
	}
	return v, nil
}

// Int takes an integer of 64 bits, without fraction or exponent.
func (r *Reader) Int() (int64, error) {
	c, err := r.Peek()
	if err != nil {
		return 0, err
	}
	negative := c == '-'
	if negative {
		r.pos++
	}
	var v uint64
	digits := 0
	for ; ; digits++ {
		if c, err = r.byte(); err != nil {
			return 0, err
		}
		if c < '0' || c > '9' {
			break
		}
		if v = v*10 + uint64(c-'0'); v > math.MaxInt64 || digits > 19 {
			return 0, fmt.Errorf("%w: a number over 63 bits", formats.ErrMalformed)
		}
	}
	r.pos--
	if digits == 0 || c == '.' || c|0x20 == 'e' {
		return 0, r.malformed("a whole number", c)
	}
	if negative {
		return -int64(v), nil
	}
	return int64(v), nil
}

// Skip takes one value of any kind, nested at most depth levels.
func (r *Reader) Skip(depth int) error {
	level := 0
	for {
		c, err := r.Peek()
		if err != nil {
			return err
		}
		switch c {
		case '{', '[':
			if level++; level > depth {
				return fmt.Errorf("%w: JSON nested over %d levels", formats.ErrLimit, depth)
			}
			r.pos++
		case '}', ']':
			if level--; level < 0 {
				return r.malformed("a value", c)
			}
			r.pos++
		case '"':
			if _, _, err := r.String(nil, 0); err != nil {
				return err
			}
		case ',', ':':
			if level == 0 {
				return r.malformed("a value", c)
			}
			r.pos++
			continue
		default:
			if err := r.word(); err != nil {
				return err
			}
		}
		if level == 0 {
			return nil
		}
	}
}

// word takes a number or one of true, false and null.
func (r *Reader) word() error {
	for n := 0; ; n++ {
		c, err := r.byte()
		if err != nil {
			return err
		}
		switch {
		case c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'z', c == '+', c == '-', c == '.':
		default:
			if r.pos--; n == 0 {
				return r.malformed("a value", c)
			}
			return nil
		}
	}
}
