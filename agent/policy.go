package agent

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"weightwarden/agent/config"
	"weightwarden/agent/enforce"
	"weightwarden/agent/health"
	"weightwarden/internal/api"
	"weightwarden/internal/policy"
)

// rulesOf joins what this machine asks for with what the policy asks for, within
// the bounds of this machine. With a policy, its lists of who is allowed count
// alone: a machine can ask for more than the policy, not for less, other than by
// the bounds that its owner set.
func rulesOf(c config.Enforce, p *policy.Policy) enforce.Rules {
	verdicts, destinations := c.Rules.Verdicts, c.Rules.Destinations
	r := enforce.Rules{AllowPaths: c.Rules.AllowPaths, AllowPrograms: c.Rules.AllowPrograms, Block: c.Rules.Block, Lockdown: c.Rules.Lockdown}
	if p != nil {
		q := p.Rules
		switch {
		case len(verdicts) == 0:
			destinations = q.Destinations
		case len(q.Verdicts) > 0 && (len(destinations) == 0 || len(q.Destinations) == 0):
			destinations = nil // one of them says: everywhere
		case len(q.Verdicts) > 0:
			destinations = slices.Concat(destinations, q.Destinations)
		}
		verdicts = slices.Concat(verdicts, q.Verdicts)
		r.AllowPaths, r.AllowPrograms = q.AllowPaths, q.AllowPrograms
		r.Block = r.Block || q.Block
		r.Lockdown = slices.Concat(r.Lockdown, q.Lockdown)
	}
	r.Destinations = destinations
	if !c.Blocking {
		r.Block, r.Lockdown = false, nil
	}
	for _, v := range verdicts {
		if c.Quarantine && api.Word(v).IsHit() {
			r.Verdicts = append(r.Verdicts, api.Word(v))
		}
	}
	return r
}

// loadPolicy takes the policy on disk into force, and says whether the rules are
// others now.
func (a *Agent) loadPolicy() (changed bool) {
	if a.policies == nil {
		return false
	}
	p, err := a.policies.Current()
	if err != nil { // what is in force stays
		a.board.Set("policy.load", health.Error, err.Error())
		return false
	}
	a.board.Clear("policy.load")
	a.board.Clear("policy.stale")
	if p != nil {
		a.policy.Store(p.Version)
		if time.Now().After(p.Expires) {
			a.board.Set("policy.stale", health.Warning, fmt.Sprintf("policy version %d expired on %s; still in force", p.Version, p.Expires.UTC().Format(time.RFC3339)))
		}
	}
	next := rulesOf(a.cfg.Enforce, p)
	return !reflect.DeepEqual(*a.rules.Swap(&next), next)
}

// revision follows the number that the server gives to the state of all its
// policies. The number rises too when nothing changes for this agent, and an agent
// without a policy holds none: so what counts is which number was last asked for,
// not the version in force.
type revision struct {
	told, asked *atomic.Int64
	more        chan struct{}
}

func newRevision() revision {
	return revision{told: new(atomic.Int64), asked: new(atomic.Int64), more: make(chan struct{}, 1)}
}

// tell takes the number of a heartbeat's answer; one that was not asked for yet
// wakes who waits for more.
func (r revision) tell(n int64) {
	r.told.Store(n)
	if n == r.asked.Load() {
		return
	}
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// wait returns when a number was told that was not asked for, after a time, or when
// ctx ends.
func (r revision) wait(ctx context.Context, most time.Duration) {
	late := time.After(most)
	for {
		select {
		case <-ctx.Done():
			return
		case <-late:
			return
		case <-r.more:
			if r.told.Load() != r.asked.Load() { // else it was told once more while it was asked for
				return
			}
		}
	}
}

// followPolicy asks for the newest policy as often as for snapshots, and at once
// when a heartbeat's answer tells that policies changed.
func (a *Agent) followPolicy(ctx context.Context) {
	for ctx.Err() == nil {
		about := a.revision.told.Load()
		changed, err := a.policies.Fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil { // after an error the next heartbeat asks again
			a.revision.asked.Store(about)
		}
		a.trouble("uplink.policy")(err)
		if a.loadPolicy() {
			a.openGuard(ctx)
		}
		if changed {
			a.deps.Log.Info("policy in force", "version", a.policy.Load())
		}
		a.revision.wait(ctx, time.Duration(a.cfg.Uplink.Snapshot))
	}
}
