package watch

import (
	"sync"

	"weightwarden/internal/api"
)

// SweepOnly is a watcher without events: the agent polls its places.
type SweepOnly struct {
	roots  []string
	once   sync.Once
	events chan Event
	gaps   chan Gap
}

// NewSweepOnly names places that are polled.
func NewSweepOnly(roots []string) *SweepOnly {
	return &SweepOnly{roots: roots, events: make(chan Event), gaps: make(chan Gap)}
}

// Events implements Watcher; there are none.
func (s *SweepOnly) Events() <-chan Event { return s.events }

// Gaps implements Watcher; there are none.
func (s *SweepOnly) Gaps() <-chan Gap { return s.gaps }

// Status implements Watcher.
func (s *SweepOnly) Status() []api.Watch {
	var out []api.Watch
	for _, r := range s.roots {
		out = append(out, api.Watch{Path: r, Tier: TierSweep, State: "ok", Detail: "polled"})
	}
	return out
}

// Close implements Watcher.
func (s *SweepOnly) Close() error {
	s.once.Do(func() {
		close(s.events)
		close(s.gaps)
	})
	return nil
}
