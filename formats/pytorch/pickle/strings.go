package pickle

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"weightwarden/formats"
)

// strings runs the opcodes that push text or bytes.
func (m *machine) strings(op byte) (bool, error) {
	switch op {
	case opShortBinUnicode:
		return true, m.text(1, true)
	case opBinUnicode:
		return true, m.text(4, true)
	case opBinUnicode8:
		return true, m.text(8, true)
	case opShortBinString:
		return true, m.text(1, false)
	case opBinString:
		return true, m.text(4, false)
	case opShortBinBytes:
		return true, m.bytes(1)
	case opBinBytes:
		return true, m.bytes(4)
	case opBinBytes8, opByteArray8:
		return true, m.bytes(8)
	case opString, opUnicode:
		return true, m.textLine(op)
	}
	return false, nil
}

// text pushes a counted string; a long one stays in the file.
func (m *machine) text(width int, utf8 bool) error {
	n, err := m.in.length(width)
	if err != nil {
		return err
	}
	if n > inlineString {
		v := &Bytes{Offset: m.in.pos, Length: n, UTF8: utf8}
		m.in.skip(n)
		return m.push(v, 32)
	}
	b, err := m.in.small(int(n))
	if err != nil {
		return err
	}
	return m.push(string(b), 16+n)
}

func (m *machine) bytes(width int) error {
	n, err := m.in.length(width)
	if err != nil {
		return err
	}
	v := &Bytes{Offset: m.in.pos, Length: n}
	m.in.skip(n)
	return m.push(v, 32)
}

// textLine runs STRING (a quoted Python literal) and UNICODE (raw-unicode-escape).
func (m *machine) textLine(op byte) error {
	line, err := m.in.line()
	if err != nil {
		return err
	}
	if op == opString {
		n := len(line)
		if n < 2 || line[0] != line[n-1] || (line[0] != '\'' && line[0] != '"') {
			return m.fail(formats.ErrMalformed, "string without quotes")
		}
		line = line[1 : n-1]
	}
	s := unescape(line, op == opString)
	return m.push(s, 16+int64(len(s)))
}

// unescape resolves \xNN, \uNNNN and the single-letter escapes; what it does not
// know stays as it is. Only \u is an escape in UNICODE lines.
func unescape(b []byte, literal bool) string {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] >= 0x80 && !literal { // UNICODE lines are Latin-1 with escapes
			out = utf8.AppendRune(out, rune(b[i]))
			continue
		}
		if b[i] != '\\' || i+1 == len(b) {
			out = append(out, b[i])
			continue
		}
		digits := escapeDigits(b[i+1])
		if digits > 0 && (literal == (b[i+1] == 'x')) && i+2+digits <= len(b) {
			if v, err := strconv.ParseUint(string(b[i+2:i+2+digits]), 16, 32); err == nil {
				if literal {
					out = append(out, byte(v))
				} else {
					out = append(out, string(rune(v))...)
				}
				i += 1 + digits
				continue
			}
		}
		if at := strings.IndexByte(`nrt\'"`, b[i+1]); at >= 0 && literal {
			out = append(out, "\n\r\t\\'\""[at])
			i++
			continue
		}
		out = append(out, b[i])
	}
	return string(out)
}

func escapeDigits(c byte) int {
	switch c {
	case 'x':
		return 2
	case 'u':
		return 4
	case 'U':
		return 8
	}
	return 0
}
