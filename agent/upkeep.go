package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"weightwarden/agent/health"
	"weightwarden/agent/limits"
	"weightwarden/agent/localapi"
	"weightwarden/agent/scan"
	"weightwarden/agent/watch"
	"weightwarden/internal/api"
)

// gapBox takes gaps from places that must not wait for a disk.
type gapBox struct {
	mu   sync.Mutex
	list map[[2]string]watch.Gap
	more chan struct{}
}

func newGapBox() *gapBox {
	return &gapBox{list: map[[2]string]watch.Gap{}, more: make(chan struct{}, 1)}
}

// put never blocks. Too many different places become one: everything.
func (b *gapBox) put(g watch.Gap) {
	b.mu.Lock()
	if len(b.list) >= 256 {
		g.Path = "/"
	}
	k := [2]string{g.Path, g.Cause}
	if old, ok := b.list[k]; ok && old.From.Before(g.From) {
		g.From = old.From
	}
	b.list[k] = g
	b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
}

func (b *gapBox) take() []watch.Gap {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]watch.Gap, 0, len(b.list))
	for k, g := range b.list {
		out = append(out, g)
		delete(b.list, k)
	}
	return out
}

func (a *Agent) noteGaps(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.gapBox.more:
		}
		for _, g := range a.gapBox.take() {
			a.deps.Log.Warn("gap", "path", g.Path, "cause", g.Cause, "what", g.Text)
			a.gaps.Open(g.Path, g.Cause, g.From, time.Now())
		}
	}
}

// blindWindow notes the time since the agent last ran.
func (a *Agent) blindWindow() {
	var alive time.Time
	if !a.cfg.Watch.SweepAtStart {
		return
	}
	from := time.Time{}
	if a.store.Meta("alive", &alive) {
		from = alive
	}
	for _, root := range a.cfg.Watch.Paths {
		// From the beginning: what the state store does not know was never judged.
		a.gaps.Open(filepath.Clean(root), "stopped", from, time.Now())
	}
}

func (a *Agent) saveAlive() {
	if err := a.store.SetMeta("alive", time.Now().UTC()); err != nil {
		a.deps.Log.Error("state", "error", err)
	}
}

// clock saves that the agent lives, and notices when the machine slept or the
// clock was set.
func (a *Agent) clock(ctx context.Context) {
	const step = 10 * time.Second
	last := time.Now()
	for {
		a.pulses.Beat("the clock", beatWithin)
		a.saveAlive()
		if err := a.store.Flush(); err != nil {
			a.board.Set("state.write", health.Error, err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(step):
		}
		now := time.Now()
		wall, steady := now.Round(0).Sub(last.Round(0)), now.Sub(last)
		if jump := wall - steady; jump > step || jump < -step {
			a.deps.Log.Warn("the machine slept or its clock was set", "by", jump)
			for _, root := range a.cfg.Watch.Paths {
				a.gapBox.put(watch.Gap{Path: root, From: last.Add(min(0, jump)), Cause: "suspend", Text: fmt.Sprintf("the clock moved by %v", jump)})
			}
		}
		last = now
	}
}

// sweeper closes gaps, and looks at everything now and then.
func (a *Agent) sweeper(ctx context.Context) {
	full := newTimer(time.Duration(a.cfg.Watch.SweepInterval))
	poll := newTimer(time.Duration(a.cfg.Watch.PollInterval))
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.gaps.More():
			a.closeGaps(ctx)
		case <-full:
			a.sweep(ctx, a.cfg.Watch.Paths, time.Time{})
			full = newTimer(time.Duration(a.cfg.Watch.SweepInterval))
		case <-poll:
			a.sweep(ctx, a.polled(), time.Time{})
			a.sweepOpen(ctx)
			a.closeGaps(ctx)
			poll = newTimer(time.Duration(a.cfg.Watch.PollInterval))
		}
	}
}

func newTimer(d time.Duration) <-chan time.Time {
	if d <= 0 {
		return nil
	}
	return time.After(d)
}

// polled lists the places whose events cannot be trusted.
func (a *Agent) polled() []string {
	var out []string
	for _, w := range a.currentWatcher().Status() {
		if w.Tier == watch.TierSweep || w.State != "ok" {
			out = append(out, w.Path)
		}
	}
	return out
}

func (a *Agent) closeGaps(ctx context.Context) {
	for _, g := range a.gaps.Pending() {
		since := g.From.Add(-5 * time.Second)
		if g.Cause == "stopped" || g.Cause == "unwatched" || g.Cause == "unreadable" {
			since = time.Time{} // files moved in keep their change time on some systems
		}
		now := time.Now()
		n, err := a.sweep(ctx, []string{g.Path}, since)
		if err != nil {
			return
		}
		if n.Unreadable > 0 && g.Cause == "unreadable" {
			continue // still so; tried again with the next poll
		}
		a.gaps.Close(g.ID, now, n.Looked)
	}
}

func (a *Agent) sweep(ctx context.Context, roots []string, since time.Time) (scan.Swept, error) {
	if len(roots) == 0 {
		return scan.Swept{}, nil
	}
	a.sweeping.Add(1)
	defer a.sweeping.Add(-1)
	began := time.Now()
	n, err := a.scanner.Sweep(ctx, scan.SweepOptions{Roots: roots, Since: since, Filter: a.filter})
	a.deps.Log.Info("sweep", "places", strings.Join(roots, " "), "files", n.Looked, "judged", n.Judged,
		"unreadable", n.Unreadable, "took", time.Since(began).Round(time.Millisecond))
	return n, err
}

// sweepOpen looks at memory files, deleted files and files that stay open.
func (a *Agent) sweepOpen(ctx context.Context) {
	if !a.cfg.Watch.MemoryFiles {
		return
	}
	n, err := a.scanner.SweepOpen(ctx, "/proc", a.filter)
	if err == nil && n.Looked > 0 {
		a.deps.Log.Info("sweep of open files", "files", n.Looked, "judged", n.Judged, "unreadable", n.Unreadable)
	}
}

// spare keeps reading slow while the machine stalls.
func (a *Agent) spare(ctx context.Context, events, sweeps *rate.Limiter) {
	l := a.cfg.Limits
	for l.PressureAware {
		f := rate.Limit(limits.Now().Factor())
		events.SetLimit(rate.Limit(l.BytesPerSecond) * max(f, 0.25)) // what was just written is waited for
		sweeps.SetLimit(rate.Limit(l.SweepPerSecond) * f)
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Second):
		}
	}
}

func (a *Agent) serveLocal(ctx context.Context) {
	for ctx.Err() == nil {
		err := localapi.Serve(ctx, a.cfg.SocketPath(), a.status)
		if err == nil {
			return
		}
		a.trouble("localapi")(err)
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
		}
	}
}

func (a *Agent) heartbeat() api.Heartbeat {
	h := api.Heartbeat{Epoch: a.spool.Epoch(), SentAt: time.Now().UTC(), Started: a.started, Version: a.deps.Version,
		Host: a.host, Watches: a.currentWatcher().Status(), Spool: a.spool.Info(), Gaps: a.gaps.List(), Health: a.board.List(),
		FilesSeen: a.scanner.Count.Events.Load(), BytesRead: a.scanner.Count.Bytes.Load()}
	h.Policy = a.policy.Load()
	if l := a.registry.Load(); l != nil && a.cfg.Registry == "" {
		h.Snapshot = l.Epoch
	}
	return h
}

// answered takes what the server said to a heartbeat.
func (a *Agent) answered(ans api.HeartbeatAnswer) {
	a.contact.Store(time.Now().UnixNano())
	if l := a.registry.Load(); a.snaps != nil && (l == nil || ans.Snapshot > l.Epoch) {
		a.askSnapshot()
	}
	a.revision.tell(ans.Policy)
	a.orderedSweeps(ans.Sweeps)
}

// orderedSweeps starts sweeps that the server asks for, each once.
func (a *Agent) orderedSweeps(list []api.Sweep) {
	var done []string
	a.store.Meta("sweeps", &done)
	known := map[string]bool{}
	for _, id := range done {
		known[id] = true
	}
	for _, s := range list {
		if known[s.ID] || s.ID == "" {
			continue
		}
		roots := a.cfg.Watch.Paths
		if len(s.Paths) > 0 {
			roots = a.watchedOnly(s.Paths)
		}
		for _, r := range roots {
			a.gaps.Open(r, "ordered", time.Time{}.Add(5*time.Second), time.Now())
		}
		done = append(done, s.ID)
	}
	if len(done) > 1000 {
		done = done[len(done)-1000:]
	}
	if err := a.store.SetMeta("sweeps", done); err != nil {
		a.deps.Log.Error("state", "error", err)
	}
}

// watchedOnly keeps the paths that lie in watched places: the server cannot make
// an agent read elsewhere.
func (a *Agent) watchedOnly(paths []string) []string {
	var out []string
	for _, p := range paths {
		p = filepath.Clean(p)
		for _, root := range a.cfg.Watch.Paths {
			if filepath.IsAbs(p) && watch.Within(p, filepath.Clean(root)) {
				out = append(out, p)
				break
			}
		}
	}
	return out
}

func (a *Agent) status() localapi.Status {
	c := &a.scanner.Count
	s := localapi.Status{
		SchemaVersion: api.SchemaVersion, State: "ok", Version: a.deps.Version, PID: os.Getpid(), Started: a.started,
		Watches: a.currentWatcher().Status(), Processes: a.procs.describe(),
		Spool: localapi.Spool{SpoolInfo: a.spool.Info(), Epoch: a.spool.Epoch(), Acked: a.spool.Acked()},
		Files: localapi.Files{Events: c.Events.Load(), Gated: c.Gated.Load(), Judged: c.Judged.Load(), Unchanged: c.Unchanged.Load(),
			Hits: c.Hits.Load(), Unreadable: c.Unreadable.Load(), Shed: c.Shed.Load(), Reread: c.Reread.Load(), Bytes: c.Bytes.Load()},
		Gaps: a.gaps.List(), Health: a.board.List(),
	}
	s.Policy = a.policy.Load()
	if a.id != nil {
		s.AgentID, s.Server = a.id.AgentID, a.id.Server
	}
	if l := a.registry.Load(); l != nil {
		s.Snapshot = localapi.Snapshot{Epoch: l.Epoch, File: l.file}
		if !l.expires.IsZero() {
			s.Snapshot.Expires = &l.expires
		}
	}
	if p := a.parsing.Load(); p != nil {
		s.Parsing = *p
	}
	if ns := a.contact.Load(); ns > 0 {
		t := time.Unix(0, ns).UTC()
		s.LastContact = &t
	}
	s.State = overall(s)
	return s
}

func overall(s localapi.Status) string {
	state := "ok"
	for _, h := range s.Health {
		if h.Severity == health.Error {
			return "broken"
		}
		state = "degraded"
	}
	broken := 0
	for _, w := range s.Watches {
		if w.State != "ok" {
			state = "degraded"
		}
		if w.State == "broken" {
			broken++
		}
	}
	if broken > 0 && broken == len(s.Watches) {
		return "broken"
	}
	return state
}

func (a *Agent) watchSummary() string {
	var parts []string
	for _, w := range a.currentWatcher().Status() {
		parts = append(parts, fmt.Sprintf("%s (%s, %s)", w.Path, w.Tier, w.State))
	}
	sort.Strings(parts)
	return strings.Join(parts, " ")
}
