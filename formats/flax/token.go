package flax

import (
	"fmt"

	"weightwarden/formats"
)

// kind is what a MessagePack value is.
type kind int

const (
	other kind = iota // nil, true, false, a float, a number below zero: read and done
	integer
	text
	rawBytes
	list
	mapping
	extension
)

// token is the head of a value.
type token struct {
	kind kind
	n    uint64 // the number; bytes of a text, of bytes and of an extension; values of a list, entries of a map
	ext  int8   // type of an extension
}

// token reads the head of the next value.
func (p *parser) token() (token, error) {
	c, err := p.in.U8()
	if err != nil {
		return token{}, err
	}
	switch {
	case c <= 0x7f:
		return token{integer, uint64(c), 0}, nil
	case c <= 0x8f:
		return token{mapping, uint64(c & 15), 0}, nil
	case c <= 0x9f:
		return token{list, uint64(c & 15), 0}, nil
	case c <= 0xbf:
		return token{text, uint64(c & 31), 0}, nil
	case c == 0xc0, c == 0xc2, c == 0xc3, c >= 0xe0:
		return token{}, nil
	}
	form, ok := formOf(c)
	if !ok {
		return token{}, fmt.Errorf("%w: marker %#x", formats.ErrMalformed, c)
	}
	t := token{kind: form.kind, n: uint64(form.fixed)}
	if form.wide > 0 {
		if t.n, err = p.wide(form.wide); err != nil {
			return token{}, err
		}
	}
	if form.kind == extension {
		b, err := p.in.U8()
		if err != nil {
			return token{}, err
		}
		t.ext = int8(b)
	}
	if form.kind == other {
		return token{}, p.in.Skip(int64(form.fixed))
	}
	return t, nil
}

func (p *parser) wide(n int) (uint64, error) {
	switch n {
	case 1:
		v, err := p.in.U8()
		return uint64(v), err
	case 2:
		v, err := p.in.U16()
		return uint64(v), err
	case 4:
		v, err := p.in.U32()
		return uint64(v), err
	}
	return p.in.U64()
}

// form is what follows a marker: a number of wide bytes, or fixed bytes.
type form struct {
	kind        kind
	wide, fixed int
}

// firstForm is the marker of the first form, which the others follow.
const firstForm = 0xc4

func formOf(marker byte) (form, bool) {
	forms := [...]form{
		{rawBytes, 1, 0}, {rawBytes, 2, 0}, {rawBytes, 4, 0},
		{extension, 1, 0}, {extension, 2, 0}, {extension, 4, 0},
		{other, 0, 4}, {other, 0, 8}, // floats
		{integer, 1, 0}, {integer, 2, 0}, {integer, 4, 0}, {integer, 8, 0},
		{other, 0, 1}, {other, 0, 2}, {other, 0, 4}, {other, 0, 8}, // with a sign
		{extension, 0, 1}, {extension, 0, 2}, {extension, 0, 4}, {extension, 0, 8}, {extension, 0, 16},
		{text, 1, 0}, {text, 2, 0}, {text, 4, 0},
		{list, 2, 0}, {list, 4, 0}, {mapping, 2, 0}, {mapping, 4, 0},
	}
	if marker < firstForm || int(marker-firstForm) >= len(forms) {
		return form{}, false
	}
	return forms[marker-firstForm], true
}
