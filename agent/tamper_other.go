//go:build !linux

package agent

import "context"

// followOwn has nothing to watch with on this system.
func (a *Agent) followOwn(context.Context) {}
