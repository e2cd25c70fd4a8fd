package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"weightwarden/server/demodata"
	"weightwarden/server/store"
)

// demo makes a server with the made-up fortnight, closed again: its data folder.
func demo(t *testing.T, now time.Time) string {
	t.Helper()
	dir := t.TempDir()
	clock := demodata.NewClock(now)
	s, err := New(t.Context(), Config{DataDir: dir, Version: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Notice: io.Discard, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.FillDemo(t.Context(), clock, now, false); err != nil {
		t.Fatal(err)
	}
	if err := s.FillDemo(t.Context(), clock, now, false); !errors.Is(err, demodata.ErrNotEmpty) {
		t.Errorf("a second time: %v, want a refusal", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Every kind of thing that a page shows is there, whatever the time of day.
func TestDemoDataHasEverything(t *testing.T) {
	for hour := 1; hour < 24; hour += 6 {
		t.Run(fmt.Sprint(hour), func(t *testing.T) { demoHasEverything(t, time.Date(2026, 11, 26, hour, 55, 0, 0, time.UTC)) })
	}
}

func demoHasEverything(t *testing.T, now time.Time) {
	st, err := store.Open(t.Context(), store.Config{Path: demo(t, now) + "/server.db", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	ctx := t.Context()
	states, severities, places, verdicts, hits := map[string]int{}, map[int]int{}, map[string]int{}, map[string]int{}, int64(0)
	err = st.EachAlert(ctx, store.AlertFilter{}, func(a store.Alert) error {
		states[a.State]++
		severities[a.Severity]++
		places[a.DestClass]++
		verdicts[string(a.Verdict)]++
		hits += a.Hits
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if states[store.AlertOpen] < 3 || states[store.AlertAcknowledged] < 3 || states[store.AlertClosed] < 20 || len(severities) < 3 || len(places) < 8 || len(verdicts) < 8 {
		t.Errorf("states %v, severities %v, places %v, verdicts %v", states, severities, places, verdicts)
	}
	phases, err := casePhases(t, st)
	if err != nil || phases["closed"] < 3 || phases["contain"] == 0 || phases["detect"] == 0 || phases["recover"] == 0 {
		t.Errorf("cases by phase %v, %v", phases, err)
	}
	fleet, err := st.Fleet(ctx)
	if err != nil || fleet.Active < 20 || fleet.Silent == 0 || fleet.Revoked == 0 || fleet.Cloned == 0 || fleet.Gaps == 0 || fleet.Problems == 0 || fleet.Pending == 0 {
		t.Errorf("fleet %+v, %v", fleet, err)
	}
	sweeps, err := st.Sweeps(ctx, 10)
	if err != nil || len(sweeps) != 3 || sweeps[2].Done == 0 || sweeps[2].Files == 0 {
		t.Errorf("sweeps %+v, %v", sweeps, err)
	}
	all, err := st.CountHits(ctx, store.HitFilter{}, 1000)
	if err != nil || all < 200 || int64(all) <= hits {
		t.Errorf("%d hits of which %d in alerts, %v", all, hits, err)
	}
	snaps, err := st.Snapshots(ctx, 10)
	if err != nil || len(snaps) < 4 {
		t.Errorf("%d snapshots, %v", len(snaps), err)
	}
}

// casePhases counts what a stranger may see: the restricted case is not in it.
func casePhases(t *testing.T, st *store.Store) (map[string]int, error) {
	t.Helper()
	list, err := st.Cases(t.Context(), store.Actor{ID: "stranger"}, store.CaseFilter{Limit: 100})
	out := map[string]int{}
	for _, c := range list {
		if c.Restricted {
			t.Errorf("a stranger sees %s", c.Ref())
		}
		if c.Closed.IsZero() {
			out[c.Phase]++
		} else {
			out["closed"]++
		}
	}
	return out, err
}
