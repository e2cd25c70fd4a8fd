package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"weightwarden/agent/health"
	"weightwarden/agent/scan"
	"weightwarden/agent/uplink"
	"weightwarden/internal/api"
)

// loadRegistry takes the newest registry into use: the local file, or the last
// snapshot that verified. On trouble what is in force stays.
func (a *Agent) loadRegistry(ctx context.Context) {
	path, epoch, expires, err := a.findRegistry()
	if err == nil && path == "" {
		a.board.Set("registry.none", health.Warning, "there is no registry yet: files wait to be judged")
		return
	}
	if err == nil {
		err = a.useRegistry(ctx, path, epoch, expires)
	}
	if err != nil {
		if a.board.Set("registry.load", health.Error, err.Error()) {
			a.deps.Log.Error("registry", "error", err)
		}
		return
	}
	a.board.Clear("registry.load")
	a.board.Clear("registry.none")
	if !expires.IsZero() && time.Now().After(expires) {
		a.board.Set("registry.stale", health.Warning, fmt.Sprintf("the snapshot of epoch %d expired on %s; still used", epoch, expires.UTC().Format(time.RFC3339)))
	} else {
		a.board.Clear("registry.stale")
	}
}

func (a *Agent) findRegistry() (path string, epoch int64, expires time.Time, err error) {
	if a.cfg.Registry != "" {
		info, err := os.Stat(a.cfg.Registry)
		if errors.Is(err, os.ErrNotExist) {
			return "", 0, time.Time{}, nil
		}
		if err != nil {
			return "", 0, time.Time{}, err
		}
		return a.cfg.Registry, info.ModTime().UnixMilli(), time.Time{}, nil
	}
	if a.snaps == nil {
		return "", 0, time.Time{}, nil
	}
	return a.snaps.Current()
}

func (a *Agent) useRegistry(ctx context.Context, path string, epoch int64, expires time.Time) error {
	old := a.registry.Load()
	if old != nil && old.file == path && old.Epoch == epoch {
		return nil
	}
	judge, err := a.deps.OpenRegistry(ctx, path)
	if err != nil {
		return fmt.Errorf("registry %s: %w", path, err)
	}
	a.registry.Store(&loaded{Registry: scan.Registry{Judge: judge, Epoch: epoch}, file: path, expires: expires})
	a.deps.Log.Info("registry in force", "epoch", epoch, "file", path)
	if old != nil {
		// What was judged by the old registry is judged anew, at sweep speed.
		for _, root := range a.cfg.Watch.Paths {
			a.gaps.Open(root, "registry", time.Time{}, time.Now())
		}
	}
	return nil
}

func (a *Agent) askSnapshot() {
	select {
	case a.fetch <- struct{}{}:
	default:
	}
}

// noteFetch notes how the last fetch went. A registry that was refused stays noted
// until one is taken or there is none newer: an attacker must not clear it by
// cutting the line.
func (a *Agent) noteFetch(err error) {
	if errors.Is(err, uplink.ErrRefused) {
		if a.board.Set(api.HealthRegistryRefused, health.Error, err.Error()) {
			a.deps.Log.Error("registry", "error", err)
		}
		a.trouble("uplink.snapshot")(nil) // it was reached
		return
	}
	if err == nil {
		a.board.Clear(api.HealthRegistryRefused)
	}
	a.trouble("uplink.snapshot")(err)
}

// followRegistry fetches snapshots when the server has new ones, and loads a
// local registry when it changes.
func (a *Agent) followRegistry(ctx context.Context) {
	for {
		interval := time.Duration(a.cfg.Uplink.Snapshot)
		if a.cfg.Registry != "" {
			interval = 2 * time.Second
		}
		if a.snaps != nil {
			_, err := a.snaps.Fetch(ctx)
			if ctx.Err() != nil {
				return
			}
			a.noteFetch(err)
			if err != nil {
				interval = min(interval, 30*time.Second)
			}
		}
		a.loadRegistry(ctx)
		select {
		case <-ctx.Done():
			return
		case <-a.fetch:
		case <-time.After(interval):
		}
	}
}
