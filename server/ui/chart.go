package ui

import (
	"fmt"

	"weightwarden/server/store"
)

// rect and label are what charts are drawn of; coordinates are those of the chart's
// own box.
type rect struct {
	X, Y, W, H float64
	Class      string
	Title      string
}

type label struct {
	X, Y   float64
	Text   string
	Anchor string // start, middle, end
}

// chart is a drawing that the template "chart" writes as SVG.
type chart struct {
	W, H   int
	Name   string // for those who do not see it
	Lines  []float64
	Rects  []rect
	Labels []label
}

// trendChart draws alerts a day as stacked bars, worst at the bottom.
func trendChart(days []store.DayCount) chart {
	const w, h, left, top, bottom = 640, 190, 34, 8, 22
	c := chart{W: w, H: h, Name: "alerts a day by severity"}
	most := 4
	for _, d := range days {
		most = max(most, sum(d.Counts))
	}
	most = nice(most)
	y := func(n int) float64 { return top + float64(h-top-bottom)*(1-float64(n)/float64(most)) }
	for _, n := range []int{0, most / 2, most} {
		c.Lines = append(c.Lines, y(n))
		c.Labels = append(c.Labels, label{left - 6, y(n) + 4, fmt.Sprint(n), "end"})
	}
	step := float64(w-left) / float64(max(len(days), 1))
	for i, d := range days {
		x, below := left+float64(i)*step, 0
		for severity := 1; severity <= 4; severity++ {
			n := d.Counts[severity]
			if n == 0 {
				continue
			}
			title := fmt.Sprintf("%s: %d %s", d.Day.Format("2 January"), n, severityName(severity))
			c.Rects = append(c.Rects, rect{x + step*.15, y(below + n), step * .7, y(below) - y(below+n), fmt.Sprintf("f-s%d", severity), title})
			below += n
		}
		if i%2 == (len(days)-1)%2 {
			c.Labels = append(c.Labels, label{x + step/2, h - 5, d.Day.Format("2 Jan"), "middle"})
		}
	}
	return c
}

func sum(counts [5]int) int { return counts[1] + counts[2] + counts[3] + counts[4] }

// nice rounds up to 1, 2 or 5 times a power of ten, or double of it, so that the
// half of it is a whole number.
func nice(n int) int {
	for step := 1; ; step *= 10 {
		for _, f := range []int{2, 4, 6, 10, 20} {
			if f*step >= n {
				return f * step
			}
		}
	}
}

// share is a part of a bar with its words.
type share struct {
	Label string
	Class string // of the fill
	Count int
	Of    int
	Link  string
}

// Part is the share, 0 to 1.
func (s share) Part() float64 {
	if s.Of == 0 {
		return 0
	}
	return float64(s.Count) / float64(s.Of)
}

// stack draws shares side by side in one bar.
func stack(shares []share) chart {
	c := chart{W: 600, H: 14, Name: "shares"}
	x := 0.0
	for _, s := range shares {
		if s.Count == 0 {
			continue
		}
		w := s.Part() * 600
		c.Rects = append(c.Rects, rect{x, 0, max(w-1.5, 1), 14, s.Class, fmt.Sprintf("%s: %d of %d", s.Label, s.Count, s.Of)})
		x += w
	}
	return c
}

// bars are names with counts, each with a share of the largest.
func bars(list []store.NameCount, link func(string) string) []share {
	most := 0
	for _, n := range list {
		most = max(most, n.Count)
	}
	var out []share
	for _, n := range list {
		out = append(out, share{Label: n.Name, Class: "f-accent", Count: n.Count, Of: most, Link: link(n.Name)})
	}
	return out
}
