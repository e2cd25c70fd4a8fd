package agent

import (
	"context"
	"log/slog"

	"weightwarden/agent/config"
	"weightwarden/agent/process"
	"weightwarden/agent/watch"
)

// openWatcher takes the best source of events that the machine allows.
func openWatcher(cfg config.Config, filter watch.Filter, _ *slog.Logger) (watch.Watcher, error) {
	return watch.NewNotify(cfg.Watch.Paths, filter)
}

// processes is what is known of processes.
type processes struct {
	tracker *process.Tracker
}

func newProcesses(_ context.Context, _ config.Config, _ *slog.Logger) *processes {
	return &processes{tracker: process.NewTracker(process.Proc{Root: "/proc"}, nil)}
}

func (p *processes) describe() string { return "open files of /proc" }
