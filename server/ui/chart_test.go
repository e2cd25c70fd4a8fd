package ui

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/store"
)

func TestTrendChartStacksWithinItsBox(t *testing.T) {
	var days []store.DayCount
	for i := range 14 {
		days = append(days, store.DayCount{Day: time.Unix(int64(i)*86400, 0).UTC(), Counts: [5]int{0, i, 3, 0, 1}})
	}
	c := trendChart(days)
	if len(c.Rects) != 13+14+14 {
		t.Errorf("%d bars", len(c.Rects))
	}
	total := 0.0
	for _, r := range c.Rects {
		if r.X < 0 || r.Y < 0 || r.H <= 0 || r.X+r.W > float64(c.W) || r.Y+r.H > float64(c.H) {
			t.Errorf("outside: %+v", r)
		}
		total += r.H
	}
	if one := c.Rects[len(c.Rects)-1].H; total < 140*one || total > 152*one { // 91+42+14 alerts
		t.Errorf("heights add up to %.1f bars of one", total/one)
	}
}

func TestNiceScales(t *testing.T) {
	for n, want := range map[int]int{1: 2, 3: 4, 7: 10, 15: 20, 21: 40, 99_000: 100_000} {
		if got := nice(n); got != want {
			t.Errorf("nice(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestHeatMapPlacesLayersAndBoundsHostileNames(t *testing.T) {
	var tensors []api.TensorMatch
	for l := range 4 {
		for _, role := range []string{"q_proj", "k_proj"} {
			tensors = append(tensors, api.TensorMatch{Registered: fmt.Sprintf("model.layers.%d.attn.%s.weight", l, role), Relation: "exact", Cosine: 1, Parameters: 4})
		}
	}
	tensors = append(tensors, api.TensorMatch{Registered: "model.layers.99999.x"}, api.TensorMatch{Registered: strings.Repeat("1.", 4000)}, api.TensorMatch{Registered: "embed"})
	tensors[0].Cosine = 0.5
	c := heatMap(tensors)
	if len(c.Rects) != 8 || c.Rects[0].Class != "f-h1" || c.Rects[1].Class != "f-h4" {
		t.Fatalf("%d cells, %+v", len(c.Rects), c.Rects)
	}
	if got := heatMap([]api.TensorMatch{{Registered: "embed"}}); len(got.Rects) != 0 {
		t.Error("a map of nothing")
	}
}

func TestCountdownsAndDurations(t *testing.T) {
	now := time.Now()
	if got := countdown(now.Add(-2*time.Hour - time.Second)); got != "2:00:01 late" {
		t.Error(got)
	}
	for _, c := range []struct {
		from, due time.Duration
		want      string
	}{{-time.Minute, time.Hour, "due-ok"}, {-time.Hour, time.Minute, "due-half"}, {-time.Hour, -time.Minute, "due-late"}} {
		if got := countdownClass(now.Add(c.from), now.Add(c.due)); got != c.want {
			t.Errorf("%v: %s, want %s", c, got, c.want)
		}
	}
	a := store.Alert{Severity: 1, FirstSeen: now, Acknowledged: now.Add(6 * time.Minute)}
	if got := ackTook(a); got != "6:00, late" {
		t.Error(got)
	}
}
