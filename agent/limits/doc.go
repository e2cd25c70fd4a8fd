// Package limits keeps the agent out of the way of people's work: low priority
// for CPU and disk, a soft limit of memory, and slower reading while the machine
// stalls.
package limits

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// Pressure is the share of the last ten seconds in which something waited for a
// resource, 0 to 100 (Linux PSI, /proc/pressure).
type Pressure struct{ IO, CPU float64 }

// Factor is by how much reading slows down under pressure: 1 for none, down to a
// tenth.
func (p Pressure) Factor() float64 {
	worst := max(p.IO, p.CPU/2) // this machine's CPUs being busy matters less than its disks
	switch {
	case worst < 10:
		return 1
	case worst >= 60:
		return 0.1
	}
	return 1 - 0.9*(worst-10)/50
}

// parseSome reads "avg10" of the "some" line.
func parseSome(r io.Reader) float64 {
	lines := bufio.NewScanner(io.LimitReader(r, 4096))
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), "some avg10=")
		if !ok {
			continue
		}
		text, _, _ := strings.Cut(rest, " ")
		if v, err := strconv.ParseFloat(text, 64); err == nil && v >= 0 && v <= 100 {
			return v
		}
	}
	return 0
}
