package cases

import (
	"slices"
	"time"
)

// Figures are the measures of a time, over the cases opened in it.
type Figures struct {
	Cases         int           `json:"cases"`
	Open          int           `json:"open"`
	BySeverity    [5]int        `json:"by_severity"` // index 0 unused
	Detect        Spread        `json:"detect"`      // first activity to first hit at the server
	Acknowledge   Spread        `json:"acknowledge"` // opened to owned
	Contain       Spread        `json:"contain"`     // detected to contained
	Resolve       Spread        `json:"resolve"`     // detected to closed
	FalsePositive Share         `json:"false_positive"`
	Closure       Share         `json:"closure"`
	Metrics       []MetricShare `json:"metrics"`
}

// Spread tells of durations: how many, their mean and median, and the slowest
// tenth's border.
type Spread struct {
	N      int           `json:"n"`
	Mean   time.Duration `json:"mean_ns"`
	Median time.Duration `json:"median_ns"`
	P90    time.Duration `json:"p90_ns"`
}

// Share is a part of a whole.
type Share struct {
	Part  int `json:"part"`
	Whole int `json:"whole"`
}

// Of returns the share as a number from 0 to 1, 0 of an empty whole.
func (s Share) Of() float64 {
	if s.Whole == 0 {
		return 0
	}
	return float64(s.Part) / float64(s.Whole)
}

// MetricShare is how often a promise was kept.
type MetricShare struct {
	Metric string `json:"metric"`
	Share
}

// Times is what a measure needs of a case; zero times have not come.
type Times struct {
	Severity                                                    int
	Occurred, Detected, Opened, Acknowledged, Contained, Closed time.Time
}

// Measure computes the figures of cases. alerts counts closed alerts by their
// resolution: a false alarm that never became a case counts as well.
func Measure(list []Times, alerts map[string]int) Figures {
	f := Figures{Cases: len(list)}
	var detect, ack, contain, resolve []time.Duration
	add := func(to *[]time.Duration, from, until time.Time) {
		if !from.IsZero() && !until.IsZero() && !until.Before(from) {
			*to = append(*to, until.Sub(from))
		}
	}
	for i := range list {
		c := &list[i]
		f.BySeverity[min(max(c.Severity, 0), 4)]++
		add(&detect, c.Occurred, c.Detected)
		add(&ack, c.Opened, c.Acknowledged)
		from := c.Detected
		if from.IsZero() {
			from = c.Opened
		}
		add(&contain, from, c.Contained)
		add(&resolve, from, c.Closed)
		if c.Closed.IsZero() {
			f.Open++
		}
	}
	f.Detect, f.Acknowledge, f.Contain, f.Resolve = spreadOf(detect), spreadOf(ack), spreadOf(contain), spreadOf(resolve)
	f.Closure = Share{f.Cases - f.Open, f.Cases}
	for resolution, n := range alerts {
		f.FalsePositive.Whole += n
		if resolution == "false_positive" {
			f.FalsePositive.Part += n
		}
	}
	return f
}

func spreadOf(d []time.Duration) Spread {
	if len(d) == 0 {
		return Spread{}
	}
	slices.Sort(d)
	var sum time.Duration
	for _, x := range d {
		sum += x
	}
	return Spread{N: len(d), Mean: sum / time.Duration(len(d)), Median: d[len(d)/2], P90: d[min(len(d)*9/10, len(d)-1)]}
}
