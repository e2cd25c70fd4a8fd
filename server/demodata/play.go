package demodata

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/ingest"
	"weightwarden/server/store"
)

// event is something that happens at a time.
type event struct {
	at  time.Time
	run func() error
}

// play makes the fortnight happen in order of time.
func (w *world) play() error {
	events := w.fleetEvents()
	for i := range incidents {
		events = append(events, w.incident(i)...)
	}
	events = append(events, w.servingEvents()...)
	worked, err := w.caseEvents()
	if err != nil {
		return err
	}
	events = append(events, worked...)
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	for _, e := range events {
		if e.at.After(w.now) {
			break
		}
		w.Clock.forward(e.at)
		if err := e.run(); err != nil {
			return fmt.Errorf("%s: %w", e.at.Format(time.RFC3339), err)
		}
	}
	return nil
}

const incidents = 88

// fleetEvents are last words of agents that fell silent, new versions and sweeps.
func (w *world) fleetEvents() []event {
	var out []event
	for _, a := range w.agents {
		if a.silent > 0 {
			out = append(out, event{w.now.Add(-a.silent), func() error {
				return w.Store.Heartbeat(w.ctx, a.id, a.heartbeat(w.Clock.Now(), w.Clock.Now().Add(-time.Hour), 1, 0))
			}})
		}
	}
	for i, name := range []string{"aurora-7b", "cirrus-vision", "borealis-embed"} {
		out = append(out, event{w.now.Add(-time.Duration(8-3*i) * 24 * time.Hour), func() error {
			m := w.model(name)
			if err := w.addVersion(w.people[registrar], m, "2."+fmt.Sprint(i), 3); err != nil {
				return err
			}
			_, err := w.Publish(w.ctx, "added "+name+" 2."+fmt.Sprint(i))
			return err
		}})
	}
	for i, s := range []struct {
		model string
		paths []string
		ago   time.Duration
		who   string
	}{{"aurora-70b", nil, 9 * 24 * time.Hour, lead}, {"medline-coder", []string{"/home", "/data"}, 4 * 24 * time.Hour, analyst}, {"aurora-7b", nil, 5 * time.Hour, analyst2}} {
		at := w.now.Add(-s.ago)
		out = append(out, event{at, func() error {
			_, err := w.Store.AddSweep(w.ctx, w.people[s.who], s.model, s.paths, at.Add(24*time.Hour))
			return err
		}}, event{at.Add(time.Minute), func() error { return w.sweepBeat(i, false) }}, event{at.Add(70 * time.Minute), func() error { return w.sweepBeat(i, true) }})
	}
	return out
}

// sweepBeat lets agents take an order or, later, tell that they are done.
func (w *world) sweepBeat(n int, done bool) error {
	at := w.Clock.Now()
	for i, a := range w.agents {
		if a.silent > 0 || n == 2 && i%4 == 0 && done {
			continue
		}
		hb := a.heartbeat(at, at.Add(-time.Hour), 1, 0)
		if done {
			closed := at
			hb.Gaps = append(hb.Gaps, api.Gap{ID: fmt.Sprint("sweep", n), Cause: "ordered", From: at.Add(-time.Hour), To: at, Closed: &closed, Files: int64(900 + 631*i)})
		}
		if _, err := w.Store.OrderSweeps(w.ctx, a.id, hb); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) model(name string) *model {
	return &w.models[slices.IndexFunc(w.models, func(m model) bool { return m.Name == name })]
}

// incident is one person's copying, told in one or more hits, and what the SOC
// makes of it.
func (w *world) incident(n int) []event {
	// Chance of its own: what happens does not hang on when the others happen. The
	// newest come from every kind of story, so that every verdict is among the alerts.
	r := rand.New(rand.NewPCG(w.Seed, uint64(100+n)))
	all := stories()
	s := one(r, all)
	if n < 2*len(all) {
		s = all[n%len(all)]
	}
	// Most lie in the days before, a few in the last hours, so that some are open.
	ago := time.Duration(r.Int64N(int64(Span - 30*time.Hour)))
	if n < 12 {
		ago = time.Duration(r.Int64N(int64(7 * time.Hour)))
	}
	start := w.now.Add(-ago)
	if h := start.Hour(); h < 6 && n%5 != 0 {
		start = start.Add(time.Duration(6-h) * time.Hour)
	}
	start = minTime(start, w.now.Add(-4*time.Minute))
	a := w.pickAgent(r, s)
	m := w.pickModel(r)
	f := one(r, m.files)
	alert := ""
	var out []event
	for i := range 1 + r.IntN(s.most) {
		at := minTime(start.Add(time.Duration(i*(40+r.IntN(500)))*time.Second), w.now.Add(-time.Minute))
		out = append(out, event{at, func() error {
			var err error
			alert, err = w.hit(a, s.hit(r, a, m, f, i, n/len(all)+i, w.Clock.Now().Add(-time.Duration(3+(n*7+i*5)%80)*time.Second)))
			return err
		}})
	}
	return append(out, w.handling(r, n, start, func() string { return alert })...)
}

func minTime(a, b time.Time) time.Time {
	if a.After(b) {
		return b
	}
	return a
}

func (w *world) pickAgent(r *rand.Rand, s story) *agent {
	for {
		a := one(r, w.agents)
		if a.role == s.role && a.silent == 0 && (s.os == "" || s.os == a.os) {
			return a
		}
	}
}

// pickModel prefers what is worth stealing.
func (w *world) pickModel(r *rand.Rand) *model {
	weights := []int{6, 14, 4, 20, 20, 14, 4, 10, 4}
	n := r.IntN(96)
	for i, x := range weights {
		if n -= x; n < 0 {
			return &w.models[i]
		}
	}
	return &w.models[0]
}

// hit stores one hit and returns its alert.
func (w *world) hit(a *agent, h *api.Hit) (string, error) {
	a.seq++
	h.SchemaVersion, h.AgentID, h.Epoch, h.Seq, h.Host = 1, a.id, "demo", a.seq, a.machine()
	ingest.Clean(h)
	if err := ingest.Check(a.id, h); err != nil {
		return "", err
	}
	if _, err := w.Store.AddHits(w.ctx, a.id, []api.Hit{*h}, ingest.Severity); err != nil {
		return "", err
	}
	list, err := w.Store.Hits(w.ctx, store.HitFilter{Agent: a.id, Limit: 1})
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[0].AlertID, nil
}

// handling is what people do with an alert: older ones are closed, some are in
// somebody's hands, the newest wait.
func (w *world) handling(r *rand.Rand, n int, start time.Time, alert func() string) []event {
	who := one(r, []string{analyst, analyst, analyst2})
	change := func(after time.Duration, c store.AlertChange) event {
		at := start.Add(after)
		return event{at, func() error {
			if alert() == "" {
				return nil
			}
			return w.Store.ChangeAlert(w.ctx, w.people[who], alert(), c)
		}}
	}
	say := func(s string) *string { return &s }
	owner := say(who[:len(who)-len(" (SOC)")])
	out := []event{change(time.Duration(20+r.IntN(180))*time.Minute, store.AlertChange{State: say(store.AlertAcknowledged), Owner: owner})}
	switch {
	case n < 12 && n%3 > 0 || n%11 == 0:
		return nil
	case n < 12 || n%4 == 0:
		return out
	}
	end := one(r, []struct{ word, note string }{
		{"true_positive", "Copied on purpose. Medium taken in, account suspended, HR told."},
		{"true_positive", "Deleted in the presence of the owner; sweep of the fleet found no other copy."},
		{"false_positive", "Backup job of the storage team. Ticket OPS-3312 asks for an authorisation."},
		{"authorised", "Agreed with the owner of the model; authorisation added."},
		{"test", "Red team exercise of the quarter."},
	})
	return append(out, change(time.Duration(4+r.IntN(50))*time.Hour, store.AlertChange{State: say(store.AlertClosed), Resolution: say(end.word), Note: say(end.note)}))
}

// servingEvents are copies that are meant to be: authorised, no alert.
func (w *world) servingEvents() []event {
	var out []event
	s := story{role: "serving", user: "deploy", class: "fixed", event: "rename", words: []api.Word{api.Identical}, dir: "/srv/models/", chain: [][]string{{"/usr/lib/systemd/systemd", "--system"}, {"/opt/serve/bin/sync-models", "--pull"}}}
	for i := range 46 {
		at := w.now.Add(-Span + time.Duration(30+i*6)*time.Hour + time.Duration(i*7)*time.Minute)
		a, m := w.pickAgent(w.rand, s), &w.models[[]int{0, 1, 3, 4, 5, 6}[i%6]]
		f, chance := one(w.rand, m.files), rand.New(rand.NewPCG(w.Seed, uint64(1000+i)))
		out = append(out, event{minTime(at, w.now.Add(-time.Minute)), func() error {
			_, err := w.hit(a, s.hit(chance, a, m, f, i, i, w.Clock.Now()))
			return err
		}})
	}
	return out
}
