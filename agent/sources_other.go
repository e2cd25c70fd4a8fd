//go:build !linux

package agent

import (
	"context"
	"errors"

	"weightwarden/agent/watch"
)

func (a *Agent) openKernel() (watch.Watcher, error) {
	return nil, errors.New("this system has no fanotify")
}

func (a *Agent) keepCanary(context.Context) {}

func (a *Agent) openOpens() openWatcher { return nil }
