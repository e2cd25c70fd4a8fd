package ui

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"weightwarden/server/auth"
	"weightwarden/server/store"
)

type overviewPage struct {
	Hits     bool // the visitor may see hits and alerts
	Fleet    bool // ... and agents
	Counts   [5]int
	Late     [5]int
	Tiles    []tile
	LateN    int
	LateMore bool // more than were counted
	Wait     []store.Alert
	Trend    chart
	Models   []share
	Places   []share
	Hosts    []share
	Latest   []store.Hit
	Cases    []store.CaseRow // open ones that the visitor may know of

	Sight     store.Sight
	SightBar  chart
	SightRows []share
	Spread    []share
	Snapshot  store.Snapshot
	Agents    store.FleetSummary
}

// tile is a large number that leads somewhere.
type tile struct {
	Class, Label, Link string
	Count              int
}

func (c *Console) overview(v *visit) error {
	p := overviewPage{Hits: v.who.May(auth.HitsRead), Fleet: v.who.May(auth.AgentsRead)}
	ctx := v.r.Context()
	if p.Hits {
		if err := c.overviewAlerts(ctx, &p); err != nil {
			return err
		}
	}
	if v.who.May(auth.CasesRead) {
		var err error
		if p.Cases, err = c.store.Cases(ctx, v.who.Actor, store.CaseFilter{State: "open", Limit: 5}); err != nil {
			return err
		}
	}
	if p.Fleet {
		if err := c.overviewFleet(ctx, &p); err != nil {
			return err
		}
	}
	if !p.Hits && !p.Fleet {
		return c.back(v, "/models")
	}
	return c.render(v, http.StatusOK, "overview", "Overview", "overview", p)
}

// overviewAlerts reads everything at once: the counts go over every active alert.
func (c *Console) overviewAlerts(ctx context.Context, p *overviewPage) error {
	top := func(column, key string, into *[]share) func() error {
		return func() error {
			list, err := c.store.TopActive(ctx, column, 6)
			*into = bars(list, func(name string) string { return "/alerts?" + url.Values{key: {name}}.Encode() })
			return err
		}
	}
	err := together(
		func() (err error) { p.Counts, err = c.store.AlertCounts(ctx); return err },
		func() (err error) { p.Late, err = c.store.Late(ctx, late(time.Now()), countCap); return err },
		func() (err error) { p.Wait, err = c.store.Waiting(ctx, 7); return err },
		func() error {
			days, err := c.store.AlertTrend(ctx, time.Now().Add(-13*24*time.Hour))
			p.Trend = trendChart(days)
			return err
		},
		top("model", "model", &p.Models), top("dest_class", "destination", &p.Places), top("host", "host", &p.Hosts),
		func() (err error) { p.Latest, err = c.store.Hits(ctx, store.HitFilter{Limit: 8}); return err },
	)
	for i := range p.Places {
		p.Places[i].Label = placeName(p.Places[i].Label)
	}
	for severity := 1; severity <= 4; severity++ {
		name := severityName(severity)
		p.Tiles = append(p.Tiles, tile{Class: fmt.Sprint("sev", severity), Label: name, Link: "/alerts?severity=" + name, Count: p.Counts[severity]})
		p.LateN += p.Late[severity]
		p.LateMore = p.LateMore || p.Late[severity] == countCap
	}
	return err
}

// together runs functions at once and returns what failed.
func together(list ...func() error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(list))
	for i, f := range list {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (c *Console) overviewFleet(ctx context.Context, p *overviewPage) (err error) {
	if p.Snapshot, err = c.store.LatestSnapshot(ctx); err != nil {
		return err
	}
	if p.Agents, err = c.store.Fleet(ctx); err != nil {
		return err
	}
	if p.Sight, err = c.store.Sight(ctx, p.Snapshot.Epoch); err != nil {
		return err
	}
	s := p.Sight
	p.SightRows = []share{{"sees everything", "f-calm", s.Full, s.Agents, "/agents"}, {"silent", "f-bad", s.Silent, s.Agents, "/agents?show=silent"}, {"open gaps", "f-warn", s.Gaps, s.Agents, "/agents?show=gaps"},
		{"faults", "f-unsure", s.Faults, s.Agents, "/agents?show=faults"}, {"older snapshot", "f-s4", s.Behind, s.Agents, "/agents?show=behind"}}
	p.SightBar = stack(p.SightRows)
	spread, err := c.store.SnapshotSpread(ctx)
	for i, x := range spread {
		class := "f-calm"
		if x.Epoch < p.Snapshot.Epoch {
			class = "f-warn"
		}
		if i < 6 {
			p.Spread = append(p.Spread, share{Label: number(x.Epoch), Class: class, Count: x.Agents, Of: s.Agents})
		}
	}
	return err
}
