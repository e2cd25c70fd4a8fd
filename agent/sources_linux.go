package agent

import (
	"context"
	"path/filepath"
	"time"

	"weightwarden/agent/health"
	"weightwarden/agent/watch"
	"weightwarden/formats/keyfile"
)

func (a *Agent) openKernel() (watch.Watcher, error) {
	roots := make([]string, len(a.cfg.Watch.Paths))
	for i, p := range a.cfg.Watch.Paths {
		roots[i] = filepath.Clean(p)
	}
	return watch.NewKernel(watch.KernelOptions{Roots: roots, Filter: a.filter, MinSize: int64(a.cfg.Files.MinSize), Small: keyfile.Opaque, OnExec: a.procs.opened()})
}

// keepCanary writes a file now and then and expects its event: a watcher that was
// silenced is noticed, said and built anew.
func (a *Agent) keepCanary(ctx context.Context) {
	interval := time.Duration(a.cfg.Watch.Canary)
	if interval <= 0 {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval):
		}
		k, ok := a.currentWatcher().(*watch.Kernel)
		if !ok {
			return
		}
		err := k.Canary(a.cfg.StateDir, 10*time.Second)
		if err == nil {
			a.board.Clear("watch.canary")
			continue
		}
		if a.board.Set("watch.canary", health.Error, err.Error()) {
			a.deps.Log.Error("the watcher is blind; building it anew", "error", err)
		}
		a.rebuildWatcher(ctx, interval)
	}
}

// openOpens watches the openings of known copies where the kernel allows it.
func (a *Agent) openOpens() openWatcher {
	if !a.cfg.Watch.Egress {
		return nil
	}
	o, err := watch.NewOpens()
	if err != nil {
		a.deps.Log.Info("openings of known copies cannot be watched", "why", err)
		return nil
	}
	return o
}
