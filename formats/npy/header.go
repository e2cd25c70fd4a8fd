package npy

import (
	"fmt"
	"strconv"
	"strings"

	"weightwarden/formats"
)

// header is the description of one array.
type header struct {
	descr   string // "" for a structured type, which descr has as a list
	fields  bool
	fortran bool
	shape   []int64
	seen    int // bit 0: descr, 1: fortran_order, 2: shape
	extra   int
}

// parseHeader reads the Python literal of a header: a dict of strings, booleans,
// numbers, tuples and lists, and nothing else of Python.
func parseHeader(text string) (header, error) {
	p := &literal{text: text}
	var h header
	if err := p.expect('{'); err != nil {
		return h, err
	}
	for !p.take('}') {
		key, err := p.str()
		if err == nil {
			err = p.expect(':')
		}
		if err == nil {
			err = h.value(p, key)
		}
		if err == nil && !p.take(',') && p.peek() != '}' {
			err = p.wrong("',' or '}'")
		}
		if err != nil {
			return h, err
		}
	}
	if p.peek() != 0 {
		return h, p.wrong("the end")
	}
	if h.seen != 7 {
		return h, fmt.Errorf("%w: descr, fortran_order or shape is missing", formats.ErrMalformed)
	}
	return h, nil
}

func (h *header) value(p *literal, key string) error {
	var err error
	switch key {
	case "descr":
		h.seen |= 1
		if p.peek() == '[' || p.peek() == '(' {
			h.fields = true
			return p.skip()
		}
		h.descr, err = p.str()
	case "fortran_order":
		h.seen |= 2
		h.fortran, err = p.boolean()
	case "shape":
		h.seen |= 4
		h.shape, err = p.tuple()
	default:
		h.extra++
		err = p.skip()
	}
	return err
}

// literal reads the few kinds of Python literals that a header is made of.
type literal struct {
	text string
	at   int
}

// peek returns the next byte that is no white space, 0 at the end.
func (p *literal) peek() byte {
	for p.at < len(p.text) {
		if c := p.text[p.at]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
		p.at++
	}
	return 0
}

func (p *literal) wrong(want string) error {
	return fmt.Errorf("%w: byte %d of the header: %s wanted", formats.ErrMalformed, p.at, want)
}

func (p *literal) take(c byte) bool {
	if p.peek() == c {
		p.at++
		return true
	}
	return false
}

func (p *literal) expect(c byte) error {
	if !p.take(c) {
		return p.wrong(strconv.QuoteRune(rune(c)))
	}
	return nil
}

func (p *literal) str() (string, error) {
	q := p.peek()
	if q != '\'' && q != '"' {
		return "", p.wrong("a string")
	}
	end := strings.IndexByte(p.text[p.at+1:], q)
	if end < 0 {
		return "", p.wrong("the end of a string")
	}
	s := p.text[p.at+1 : p.at+1+end]
	p.at += end + 2
	return s, nil
}

func (p *literal) boolean() (bool, error) {
	p.peek()
	for word, v := range map[string]bool{"True": true, "False": false} {
		if strings.HasPrefix(p.text[p.at:], word) {
			p.at += len(word)
			return v, nil
		}
	}
	return false, p.wrong("True or False")
}

// maxAxes is more than numpy's 64.
const maxAxes = 128

// tuple reads a tuple of natural numbers; Python 2 wrote some as 3L.
func (p *literal) tuple() ([]int64, error) {
	if err := p.expect('('); err != nil {
		return nil, err
	}
	shape := []int64{}
	for !p.take(')') {
		start := p.at
		for p.peek() >= '0' && p.peek() <= '9' {
			p.at++
		}
		n, err := strconv.ParseInt(strings.TrimSpace(p.text[start:p.at]), 10, 64)
		if err != nil || len(shape) == maxAxes {
			return nil, p.wrong("a natural number")
		}
		p.take('L')
		shape = append(shape, n)
		if !p.take(',') && p.peek() != ')' {
			return nil, p.wrong("',' or ')'")
		}
	}
	return shape, nil
}

// skip passes over one value.
func (p *literal) skip() error {
	depth := 0
	for {
		switch c := p.peek(); c {
		case 0:
			return p.wrong("a value")
		case '\'', '"':
			if _, err := p.str(); err != nil {
				return err
			}
		case '[', '(', '{':
			depth++
			p.at++
		case ']', ')', '}':
			if depth == 0 {
				return p.wrong("a value")
			}
			depth--
			p.at++
		case ',', ':':
			if depth == 0 {
				return nil
			}
			p.at++
		default:
			p.at++
			continue
		}
		if depth == 0 && (p.peek() == ',' || p.peek() == '}' || p.peek() == 0) {
			return nil
		}
	}
}
