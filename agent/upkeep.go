package agent

import (
	"context"
	"errors"
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

// saveAlive writes that the agent lives, and what waits to be written.
func (a *Agent) saveAlive() {
	a.saved(errors.Join(a.store.SetMeta("alive", time.Now().UTC()), a.store.Flush()))
}

// moment is a time by both clocks: the one that people set, and the one that only
// goes forward and stands while the machine sleeps.
type moment struct {
	wall   time.Time
	steady time.Duration
}

func (a *Agent) moment() moment {
	now := time.Now()
	return moment{now.Round(0), now.Sub(a.started)}
}

// clockStep is how often the clocks are compared; they may differ by as much.
const clockStep = 10 * time.Second

// clock saves that the agent lives, says what was found damaged, and notices when
// the machine slept or the clock was set.
func (a *Agent) clock(ctx context.Context) {
	for last := a.moment(); ; {
		a.pulses.Beat("the clock", beatWithin)
		a.saveAlive()
		a.sayDamage()
		select {
		case <-ctx.Done():
			return
		case <-time.After(clockStep):
		}
		now := a.moment()
		a.clockMoved(last, now)
		last = now
	}
}

// clockMoved opens a gap where the clocks went apart between two moments: what
// changed meanwhile may bear any time between them.
func (a *Agent) clockMoved(last, now moment) {
	jump := now.wall.Sub(last.wall) - (now.steady - last.steady)
	if jump.Abs() <= clockStep {
		return
	}
	a.deps.Log.Warn("the machine slept or its clock was set", "by", jump)
	for _, root := range a.cfg.Watch.Paths {
		a.gapBox.put(watch.Gap{Path: root, From: last.wall.Add(min(0, jump)), Cause: "suspend", Text: fmt.Sprintf("the clock moved by %v", jump)})
	}
}

// skewMost is how far a clock may be from the server's before that is said.
const skewMost = 2 * time.Minute

// compareClocks says where this machine's clock is wrong, or the server's: times in
// hits, certificates and policies hang on it.
func (a *Agent) compareClocks(server time.Time) {
	ahead := time.Since(server).Round(time.Second)
	if server.IsZero() || ahead.Abs() <= skewMost {
		a.board.Clear("clock.skew")
		return
	}
	word := "ahead of"
	if ahead < 0 {
		word = "behind"
	}
	a.board.Set("clock.skew", health.Warning, fmt.Sprintf("this machine's clock is %v %s the server's; times in hits are this machine's", ahead.Abs(), word))
}

// sweeper closes gaps, and looks at everything now and then.
func (a *Agent) sweeper(ctx context.Context) {
	full := newTimer(time.Duration(a.cfg.Watch.SweepInterval))
	// The first comes soon: what is open now may have been opened while nobody watched.
	poll := newTimer(min(time.Duration(a.cfg.Watch.PollInterval), time.Minute))
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
		now := time.Now()
		n, err := a.sweep(ctx, []string{g.Path}, a.sweepSince(g))
		if err != nil {
			return
		}
		if n.Unreadable > 0 && g.Cause == "unreadable" {
			continue // still so; tried again with the next poll
		}
		a.gaps.Close(g.ID, now, n.Looked)
	}
}

// sweepSince is the change time from which on files may be unjudged because of a
// gap; zero for all. The state store knows what was judged, so a bound is only kept
// where old files are not to be read at all: a file may have been written long
// before the event of its closing was lost, and move in with the time it had.
func (a *Agent) sweepSince(g api.Gap) time.Time {
	switch g.Cause {
	case "overflow", "suspend", "blind":
		if !a.cfg.Watch.SweepAtStart {
			return g.From.Add(-5 * time.Second)
		}
	}
	return time.Time{}
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

// delivered takes how a delivery went.
func (a *Agent) delivered(err error) {
	a.trouble("uplink.hits")(err)
	a.sayDamage() // what could not be delivered is found and reported again
}

func (a *Agent) heartbeat() api.Heartbeat {
	a.sayDamage()
	h := api.Heartbeat{Epoch: a.spool.Epoch(), SentAt: time.Now().UTC(), Started: a.started, Version: a.deps.Version,
		Host: a.host, Watches: a.currentWatcher().Status(), Spool: a.spool.Info(), Gaps: a.gaps.List(), Health: a.board.List(), Over: a.board.Over(),
		FilesSeen: a.scanner.Count.Events.Load(), BytesRead: a.scanner.Count.Bytes.Load()}
	h.Spool.Lost = a.gaps.Evicted()
	a.telling, a.over = h.Gaps, h.Over
	h.Policy = a.policy.Load()
	if l := a.registry.Load(); l != nil && a.cfg.Registry == "" {
		h.Snapshot = l.Epoch
	}
	return h
}

// answered takes what the server said to a heartbeat.
func (a *Agent) answered(ans api.HeartbeatAnswer) {
	a.contact.Store(time.Now().UnixNano())
	a.gaps.Told(a.telling)
	a.board.Told(a.over)
	a.compareClocks(ans.Now)
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
			a.gaps.Open(r, "ordered", time.Time{}, time.Now())
		}
		done = append(done, s.ID)
	}
	if len(done) > 1000 {
		done = done[len(done)-1000:]
	}
	a.saved(a.store.SetMeta("sweeps", done))
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
	if w, ok := a.currentWatcher().(interface{ Closed() uint64 }); ok {
		s.Files.Closes = w.Closed()
	}
	s.Policy, s.Spool.Lost = a.policy.Load(), a.gaps.Evicted()
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
