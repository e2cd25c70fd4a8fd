package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"weightwarden/agent/enforce"
	"weightwarden/agent/health"
	"weightwarden/agent/process"
	"weightwarden/agent/scan"
	"weightwarden/agent/state"
	"weightwarden/agent/watch"
	"weightwarden/internal/api"
)

// act does what the rules ask for about a new copy, and notes it in the hit. The
// entry then knows the file in its new place, so that nobody finds it anew.
func (a *Agent) act(o scan.Outcome, hit *api.Hit, entry *state.Entry) {
	if r, ok := a.quarantine.Holding(o.Path); ok { // found again after a crash or a lost state
		hit.Action, hit.PreviousPath = enforce.ActionQuarantine, r.Path
		return
	}
	if ask, _ := a.rules.Load().Quarantines(hit); !ask || o.File == nil {
		return
	}
	if o.Deleted || o.WriterActive {
		a.noted(hit, "agent.quarantine_refused", "not quarantined: the file has no name any more, or is still being written")
		return
	}
	r, err := a.quarantine.Take(o.Info, *hit)
	if err != nil && r.ID == "" {
		a.deps.Log.Warn("quarantine", "path", o.Path, "error", err)
		a.noted(hit, "agent.quarantine_refused", err.Error())
		return
	}
	if err != nil {
		a.board.Set("quarantine.write", health.Warning, err.Error())
	}
	hit.Action = enforce.ActionQuarantine
	text := fmt.Sprintf("moved aside as %s; 'fpagent quarantine restore %s' brings it back", r.ID, r.ID)
	if r.OtherNames > 0 {
		text += fmt.Sprintf("; %d other names (hard links) still lead to it", r.OtherNames)
	}
	a.noted(hit, "agent.quarantined", text)
	a.deps.Log.Warn("quarantined", "path", o.Path, "id", r.ID, "verdict", hit.Verdict.Verdict)
	*entry = entry.WithName(r.Held)
	if now, err := scan.Stat(o.File); err == nil {
		entry.Stamp = now.Stamp
	}
}

// recoverQuarantine reports files that were moved aside by an agent that was killed
// before their hit was written: nothing else would find them, since the agent does
// not look into its own folder.
func (a *Agent) recoverQuarantine(ctx context.Context) {
	list, err := a.quarantine.Settle()
	if err != nil {
		a.board.Set("quarantine.records", health.Warning, err.Error())
	}
	if len(list) == 0 {
		return
	}
	known := map[string]bool{}
	err = a.store.Each(func(_ state.Key, e state.Entry) {
		for _, r := range list {
			known[r.Held] = known[r.Held] || e.Seq > 0 && e.HasName(r.Held)
		}
	})
	for _, r := range list {
		if err == nil && !known[r.Held] {
			err = a.reportHeld(ctx, r)
		}
	}
	if err != nil {
		a.deps.Log.Error("quarantine", "error", err)
	}
}

func (a *Agent) reportHeld(ctx context.Context, r enforce.Record) error {
	f, err := scan.OpenFile(r.Held)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := scan.Stat(f)
	if err != nil {
		return err
	}
	hit, v := r.Hit, r.Hit.Verdict
	hit.Action = enforce.ActionQuarantine
	a.noted(&hit, "agent.quarantined", fmt.Sprintf("moved aside as %s by an agent that ended then; 'fpagent quarantine restore %s' brings it back", r.ID, r.ID))
	entry := state.Entry{Stamp: info.Stamp, Path: r.Held, Verdict: v.Verdict, Model: v.Model, Version: v.ModelVersion, Kind: v.Kind,
		Snapshot: hit.Snapshot, Judged: time.Now().UTC()}.WithName(r.Path).WithName(r.Held)
	stored, err := a.appendHit(ctx, hit, info.Key, entry)
	if err != nil {
		return err
	}
	entry.Epoch, entry.Seq = stored.Epoch, stored.Seq
	a.printHit(stored)
	return a.store.Put(info.Key, entry, true)
}

func (a *Agent) noted(hit *api.Hit, code, text string) {
	hit.Verdict.Findings = append(append([]api.Finding{}, hit.Verdict.Findings...), api.Finding{Code: code, Severity: "info", Text: text, Offset: -1})
}

// openGuard holds up openings of known copies where the rules ask for it.
func (a *Agent) openGuard(ctx context.Context) {
	rules := *a.rules.Load()
	if !rules.Block && len(rules.Lockdown) == 0 {
		a.openGuardWith(ctx, nil)
		return
	}
	g, err := enforce.NewGuard(enforce.GuardOptions{Rules: rules, MinSize: int64(a.cfg.Files.MinSize),
		Budget: time.Duration(a.cfg.Enforce.Budget), Own: []string{a.cfg.StateDir}})
	if err != nil {
		a.board.Set("blocking", health.Error, "blocking is asked for and cannot be had: "+err.Error())
		a.deps.Log.Error("blocking", "error", err)
		return
	}
	a.board.Clear("blocking")
	a.openGuardWith(ctx, g)
}

// openGuardWith puts a guard in force, nil for none. The one before lets everybody
// through as it ends, after the new one holds.
func (a *Agent) openGuardWith(ctx context.Context, g *enforce.Guard) {
	old := a.guard.Swap(g)
	if g != nil {
		a.markKnown()
		go a.followDenied(ctx, g)
	}
	if old != nil {
		if err := old.Close(); err != nil {
			a.deps.Log.Warn("blocking", "error", err)
		}
	}
}

// followDenied reports refused openings, and keeps the guard's lists fresh, until
// the guard is closed.
func (a *Agent) followDenied(ctx context.Context, g *enforce.Guard) {
	fresh := time.NewTicker(30 * time.Second)
	defer fresh.Stop()
	for {
		select {
		case d, ok := <-g.Denied():
			if !ok {
				return
			}
			a.reportDenied(ctx, d)
		case <-fresh.C:
			g.Refresh()
			if n := g.Count.Undecided.Load(); n > 0 {
				a.board.Set("blocking.undecided", health.Warning, fmt.Sprintf("%d openings were let through because their time was up", n))
			}
		}
	}
}

func (a *Agent) reportDenied(ctx context.Context, d enforce.Denied) {
	ev := watch.Opened{ID: d.ID, Path: d.Path, PID: d.PID, At: d.At}
	if !a.egress.once(ev) {
		return
	}
	a.deps.Log.Warn("an opening was refused", "path", d.Path, "pid", d.PID, "exe", d.Exe, "lockdown", d.Lockdown)
	k, ok := a.knownCopy(ev)
	if !ok { // in a folder under lockdown, not a known copy: the log and the health say so
		a.board.Set("blocking.lockdown", health.Warning, fmt.Sprintf("%q was kept from opening %q", d.Exe, d.Path))
		return
	}
	p, _ := a.procs.tracker.Who(d.ID, d.Path, d.PID, d.At)
	if p == nil {
		p = &api.Process{PID: d.PID, Exe: d.Exe, UID: -1, Certainty: process.Exact}
	}
	e := k.entry
	v := api.Verdict{SchemaVersion: api.SchemaVersion, Path: d.Path, Size: k.info.Stamp.Size, Verdict: e.Verdict, Model: e.Model, ModelVersion: e.Version, Kind: e.Kind,
		Confidence: 1, Sentence: fmt.Sprintf("%s %s, found here before as %s: %q was kept from opening it.", e.Model, e.Version, e.Verdict, d.Exe),
		Evidence: []api.Evidence{{Kind: "denied", Text: "opened by a program that is not authorised; refused", Value: 1}}, Findings: []api.Finding{}}
	hit := a.hit(scan.Outcome{Op: watch.Open, Path: d.Path, At: d.At, Info: k.info, Verdict: &v, Snapshot: e.Snapshot, Process: p})
	hit.Action = enforce.ActionDeny
	if stored, err := a.appendHit(ctx, hit, state.Key{}, state.Entry{}); err == nil {
		a.scanner.Count.Hits.Add(1)
		a.printHit(stored)
	}
}

// guardCopy keeps others from opening a known copy.
func (a *Agent) guardCopy(f *os.File, path string) {
	g, rules := a.guard.Load(), a.rules.Load()
	if g == nil || f == nil || !rules.Block || rules.AllowedPlace(path) {
		return
	}
	if err := g.Add(f); err != nil && !errors.Is(err, os.ErrClosed) {
		a.deps.Log.Info("openings of a copy cannot be held up", "path", path, "why", err)
	}
}
