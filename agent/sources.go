package agent

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"weightwarden/agent/config"
	"weightwarden/agent/process"
	"weightwarden/agent/watch"
)

// processes is what is known of processes.
type processes struct {
	tracker *process.Tracker
	cache   *process.Cache // nil: none
	why     string         // why there is none
}

// newProcesses starts the process cache where the kernel lets us.
func newProcesses(ctx context.Context, cfg config.Config, log *slog.Logger) *processes {
	proc := process.Proc{Root: "/proc"}
	if cfg.Watch.Processes == "off" {
		return &processes{tracker: process.NewTracker(proc, nil), why: "off by configuration"}
	}
	conn, err := process.OpenConnector()
	if err != nil {
		log.Info("no process events; writers are looked for in the open files of /proc", "why", err)
		return &processes{tracker: process.NewTracker(proc, nil), why: err.Error()}
	}
	p := &processes{cache: process.NewCache(proc, nil)}
	go conn.Feed(ctx, p.cache)
	p.cache.Reseed(process.Seed()) // subscribed first, so that nobody slips between
	p.tracker = process.NewTracker(proc, p.cache)
	return p
}

func (p *processes) describe() string {
	if p.cache == nil {
		return "open files of /proc (" + p.why + ")"
	}
	text := fmt.Sprintf("process events, %d known", p.cache.Len())
	if s := p.cache.State(); s != "" {
		text += "; " + s
	}
	return text
}

// opened is what a watcher tells of programs that are started.
func (p *processes) opened() func(int, string, time.Time) {
	if p.cache == nil {
		return nil
	}
	return p.cache.Opened
}

// openWatcher takes the best source of events that the machine allows.
func (a *Agent) openWatcher() (watch.Watcher, error) {
	tier := a.cfg.Watch.Tier
	switch tier {
	case watch.TierFSNotify:
		return watch.NewNotify(a.cfg.Watch.Paths, a.filter)
	case watch.TierSweep:
		return watch.NewSweepOnly(a.cfg.Watch.Paths), nil
	}
	w, err := a.openKernel()
	if err == nil {
		return w, nil
	}
	if tier == watch.TierFanotify {
		return nil, fmt.Errorf("tier fanotify: %w", err)
	}
	a.deps.Log.Info("fanotify cannot be had; watching folders through fsnotify", "why", err)
	n, err := watch.NewNotify(a.cfg.Watch.Paths, a.filter)
	if err != nil {
		a.deps.Log.Warn("fsnotify cannot be had; sweeping only", "why", err)
		return watch.NewSweepOnly(a.cfg.Watch.Paths), nil
	}
	return n, nil
}
