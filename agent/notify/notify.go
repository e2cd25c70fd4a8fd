// Package notify tells the service manager that the agent works (the sd_notify
// protocol of systemd). Without a service manager it does nothing.
package notify

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Run says "ready", then keeps the watchdog quiet as long as progress returns in
// time and is well, and says "stopping" when ctx ends.
func Run(ctx context.Context, progress func() (status string, ok bool)) {
	sent, err := daemon.SdNotify(false, daemon.SdNotifyReady)
	if !sent || err != nil {
		return
	}
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		interval = time.Minute
	}
	for {
		// A part that hangs holds its locks: progress then does not return.
		if status, ok := progress(); ok {
			_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog+"\nSTATUS="+status) // the manager went away: nothing to do
		}
		select {
		case <-ctx.Done():
			_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
			return
		case <-time.After(interval / 3):
		}
	}
}
