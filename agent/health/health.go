// Package health keeps what is not as it should be: named conditions, and gaps,
// the times and places that were not watched. Both go to the server with every
// heartbeat and to "fpagent status".
package health

import (
	"crypto/rand"
	"encoding/hex"
	"sort"
	"sync"
	"time"

	"weightwarden/internal/api"
)

// Severities of api.Health.
const (
	Warning = "warning"
	Error   = "error"
)

// Board holds the conditions that are true now. Its methods are safe for
// concurrent use.
type Board struct {
	mu   sync.Mutex
	list map[string]api.Health
}

// NewBoard returns an empty board.
func NewBoard() *Board { return &Board{list: map[string]api.Health{}} }

// Set notes a condition; Since stays that of its beginning. It reports whether
// the condition is new.
func (b *Board) Set(code, severity, text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	h, old := b.list[code]
	if !old {
		h = api.Health{Code: code, Since: time.Now().UTC()}
	}
	h.Severity, h.Text = severity, text
	b.list[code] = h
	return !old
}

// Clear ends a condition and reports whether it was there.
func (b *Board) Clear(code string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.list[code]
	delete(b.list, code)
	return ok
}

// List returns the conditions by code.
func (b *Board) List() []api.Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]api.Health, 0, len(b.list))
	for _, h := range b.list {
		out = append(out, h)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Code < out[j].Code })
	return out
}

const (
	gapsMax   = 512       // kept in all
	gapsShown = 64        // in one heartbeat
	closedFor = time.Hour // a closed gap is told for so long
)

// Gaps is the list of gaps. Save is called with the list after every change, so
// that a gap outlives the agent. Its methods are safe for concurrent use.
type Gaps struct {
	mu   sync.Mutex
	list []api.Gap
	save func([]api.Gap)
	more chan struct{}
}

// NewGaps starts with the gaps that were saved.
func NewGaps(saved []api.Gap, save func([]api.Gap)) *Gaps {
	g := &Gaps{list: saved, save: save, more: make(chan struct{}, 1)}
	for _, gap := range saved {
		if gap.Closed == nil {
			g.signal()
		}
	}
	return g
}

func (g *Gaps) signal() {
	select {
	case g.more <- struct{}{}:
	default:
	}
}

// Open notes a gap. An open one of the same place and cause is extended.
func (g *Gaps) Open(path, cause string, from, to time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.prune()
	defer g.signal()
	for i := range g.list {
		gap := &g.list[i]
		if gap.Closed == nil && gap.Path == path && gap.Cause == cause {
			if from.Before(gap.From) {
				gap.From = from.UTC()
			}
			if to.After(gap.To) {
				gap.To = to.UTC()
			}
			return // not saved: extending happens often, and the gap itself is on disk
		}
	}
	g.list = append(g.list, api.Gap{ID: newID(), Path: path, From: from.UTC(), To: to.UTC(), Cause: cause})
	g.save(g.list)
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails on the systems Go supports
	return hex.EncodeToString(b[:])
}

// prune forgets gaps closed long ago, and when there are too many, joins the open
// ones of one cause into one of everything.
func (g *Gaps) prune() {
	keep := g.list[:0]
	for _, gap := range g.list {
		if gap.Closed == nil || time.Since(*gap.Closed) < closedFor {
			keep = append(keep, gap)
		}
	}
	g.list = keep
	if len(g.list) < gapsMax {
		return
	}
	joined := map[string]*api.Gap{}
	var out []api.Gap
	for _, gap := range g.list {
		if gap.Closed != nil {
			continue
		}
		j, ok := joined[gap.Cause]
		if !ok {
			all := gap
			all.Path = "/"
			joined[gap.Cause] = &all
			continue
		}
		if gap.From.Before(j.From) {
			j.From = gap.From
		}
		if gap.To.After(j.To) {
			j.To = gap.To
		}
	}
	for _, j := range joined {
		out = append(out, *j)
	}
	g.list = out
}

// Close notes that a sweep of files made up for a gap that began before from was
// extended: a gap that has been extended since stays open.
func (g *Gaps) Close(id string, to time.Time, files int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.list {
		gap := &g.list[i]
		if gap.ID != id || gap.Closed != nil {
			continue
		}
		gap.Files += files
		if gap.To.After(to) {
			g.signal()
			return
		}
		now := time.Now().UTC()
		gap.Closed = &now
		g.save(g.list)
	}
}

// Pending returns the open gaps, oldest first.
func (g *Gaps) Pending() []api.Gap {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []api.Gap
	for _, gap := range g.list {
		if gap.Closed == nil {
			out = append(out, gap)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].From.Before(out[j].From) })
	return out
}

// List returns the gaps to tell: open ones first, then those closed lately.
func (g *Gaps) List() []api.Gap {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := append([]api.Gap(nil), g.list...)
	sort.SliceStable(out, func(i, j int) bool {
		if (out[i].Closed == nil) != (out[j].Closed == nil) {
			return out[i].Closed == nil
		}
		return out[i].From.After(out[j].From)
	})
	return out[:min(len(out), gapsShown)]
}

// More receives after a gap was opened.
func (g *Gaps) More() <-chan struct{} { return g.more }
