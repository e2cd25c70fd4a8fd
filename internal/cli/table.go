package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Table prints rows in columns that line up. Cells come from hostile files: they
// are made printable, and cut where they are longer than MaxCell.
type Table struct {
	Right []bool // columns that are aligned right
	rows  [][]string
	width []int
}

// MaxCell is the longest cell of a Table, in characters.
const MaxCell = 72

// Row adds a row.
func (t *Table) Row(cells ...string) {
	for i, c := range cells {
		c = PrintableLine(c)
		if utf8.RuneCountInString(c) > MaxCell {
			r := []rune(c)
			c = string(r[:MaxCell/2]) + "…" + string(r[len(r)-MaxCell/2+1:])
		}
		cells[i] = c
		if i >= len(t.width) {
			t.width = append(t.width, 0)
		}
		t.width[i] = max(t.width[i], utf8.RuneCountInString(c))
	}
	t.rows = append(t.rows, cells)
}

// Print writes the rows, the first one in bold as the heading.
func (t *Table) Print(w io.Writer, s Style) {
	out := bufio.NewWriter(w)
	defer out.Flush()
	for n, row := range t.rows {
		var b strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", t.width[i]-utf8.RuneCountInString(c))
			switch {
			case i < len(t.Right) && t.Right[i]:
				b.WriteString(pad + c)
			case i == len(row)-1:
				b.WriteString(c)
			default:
				b.WriteString(c + pad)
			}
			if i < len(row)-1 {
				b.WriteString("  ")
			}
		}
		line := strings.TrimRight(b.String(), " ")
		if n == 0 {
			line = s.Bold(line)
		}
		fmt.Fprintf(out, "  %s\n", line)
	}
}

// Count formats a whole number with thousands apart: 1,234,567.
func Count(n int64) string {
	s := fmt.Sprint(n)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Bar draws a share of 0 to 1 as a bar of n characters.
func Bar(share float64, n int) string {
	full := int(share*float64(n) + 0.5)
	full = max(0, min(n, full))
	if share > 0 && full == 0 {
		full = 1
	}
	if share < 1 && full == n {
		full = n - 1
	}
	return strings.Repeat("█", full) + strings.Repeat("░", n-full)
}

// Plural is "1 file" or "3 files".
func Plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(int64(n)) + " " + many
}
