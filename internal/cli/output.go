package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Style colours text, or leaves it alone.
type Style struct{ Colour bool }

func (s Style) wrap(code, text string) string {
	if !s.Colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Red is for hits and errors.
func (s Style) Red(t string) string { return s.wrap("31;1", t) }

// Green is for clear results.
func (s Style) Green(t string) string { return s.wrap("32", t) }

// Yellow is for what needs a look.
func (s Style) Yellow(t string) string { return s.wrap("33", t) }

// Bold is for headings.
func (s Style) Bold(t string) string { return s.wrap("1", t) }

// Dim is for what matters less.
func (s Style) Dim(t string) string { return s.wrap("2", t) }

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// ColourFor reports whether output to w is coloured: on a terminal, unless
// NO_COLOR is set.
func ColourFor(env *Env, w io.Writer) bool {
	return IsTerminal(w) && env.Getenv("NO_COLOR") == "" && env.Getenv("TERM") != "dumb"
}

// Printable makes text out of a hostile file safe for a terminal: control and
// bidirectional characters and invalid UTF-8 are shown escaped.
func Printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' || r == '\t' || (unicode.IsPrint(r) && !isBidi(r)):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}

// PrintableLine is Printable for text that must stay on one line.
func PrintableLine(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(Printable(s), "\n", `\n`), "\t", `\t`)
}

func isBidi(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f || r == 0x061c
}

// Bytes formats a number of bytes for people: 13.5 GB.
func Bytes(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1000, 0
	for v >= 999.5 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	return fmt.Sprintf("%.3g %cB", v, units[i])
}
