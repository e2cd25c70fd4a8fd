// Package text opens files that were written as text to pass where only text may:
// base64 (RFC 4648, both alphabets) and hexadecimal digits, with line ends anywhere, and
// decimal numbers.
package text

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"io"

	"weightwarden/formats"
	"weightwarden/formats/archive"
)

// leastHead is how much of a file has to be of the alphabet.
const leastHead = 512

// Container opens one kind of text.
type Container struct {
	id       formats.ID
	alphabet func(c byte) bool
	open     func(io.Reader) io.Reader
}

// All returns a Container for every kind.
func All() []formats.Container { return []formats.Container{Base64(), Hex(), Within{}, Numbers{}} }

// Hex is pairs of hexadecimal digits.
func Hex() Container {
	return Container{"hex", isHex, func(r io.Reader) io.Reader { return hex.NewDecoder(&only{r: r, want: isHex}) }}
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

// Base64 is base64 or base64url, padded or not.
func Base64() Container {
	return Container{"base64", isBase64, func(r io.Reader) io.Reader {
		return base64.NewDecoder(base64.RawStdEncoding, &only{r: r, want: isBase64, url: true})
	}}
}

func isBase64(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '+' || c == '/' || c == '-' || c == '_'
}

// ID implements formats.Container.
func (c Container) ID() formats.ID { return c.id }

// Sniff implements formats.Container: hexadecimal digits are base64 too, but of
// few letters.
func (c Container) Sniff(head []byte) bool {
	if len(head) < leastHead {
		return false
	}
	other := false
	for i, b := range head {
		switch {
		case c.alphabet(b):
			other = other || !isHex(b)
		case b == '\r' || b == '\n' || b == '=' && i > len(head)-4:
		default:
			return false
		}
	}
	return other == (c.id == "base64")
}

// Open implements formats.Container.
func (c Container) Open(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Members, error) {
	if !formats.SpoolOf(ctx, limits).Member() {
		return nil, formats.Errorf(c.id, "member", 0, formats.ErrLimit, "more members than allowed")
	}
	u := archive.NewUnpacked(ctx, archive.Stream{Format: c.id, Packed: src.Size(),
		Open: func() (io.Reader, error) { return c.open(io.NewSectionReader(src, 0, src.Size())), nil }}, limits)
	if u.Size() == 0 {
		return nil, formats.Errorf(c.id, "text", 0, formats.ErrMalformed, "nothing could be decoded")
	}
	var set archive.Set
	set.Add("", u)
	return set.Members(u.Findings()), nil
}

// only passes on the bytes of an alphabet, up to the first that is neither of it nor
// a line end.
type only struct {
	r    io.Reader
	want func(byte) bool
	url  bool // '-' and '_' stand for '+' and '/'
	done bool
}

// Read implements io.Reader.
func (o *only) Read(p []byte) (int, error) {
	for !o.done && len(p) > 0 {
		n, err := o.r.Read(p)
		kept := 0
		for _, b := range p[:n] {
			switch {
			case o.want(b):
				p[kept] = o.plain(b)
				kept++
			case b == '\r' || b == '\n':
			default:
				o.done = true
			}
			if o.done {
				break
			}
		}
		if kept > 0 || err != nil {
			return kept, err
		}
	}
	return 0, io.EOF
}

func (o *only) plain(b byte) byte {
	if o.url && b == '-' {
		return '+'
	}
	if o.url && b == '_' {
		return '/'
	}
	return b
}
