package health

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sort"
	"sync"
	"time"

	"weightwarden/internal/api"
)

const (
	gapsMax   = 512       // kept in all
	gapsShown = 64        // in one heartbeat
	closedFor = time.Hour // a closed gap is shown for so long, and until the server knows of it
)

// Noted is a gap as it is kept.
type Noted struct {
	api.Gap
	Told bool `json:"told,omitempty"` // the server knows that it is closed
}

// GapList is what outlives the agent.
type GapList struct {
	Gaps    []Noted `json:"gaps"`
	Evicted uint64  `json:"evicted"` // closed gaps that were forgotten before the server knew of them
}

// Gaps is the list of gaps. A closed one is kept until the server knows of it, so
// that it learns what was not watched while it could not be reached; where that
// takes longer than there is room for, the oldest are forgotten and counted. Its
// methods are safe for concurrent use.
type Gaps struct {
	mu     sync.Mutex
	list   GapList
	server bool // there is one to be told
	save   func(GapList)
	more   chan struct{}
}

// NewGaps starts with the gaps that were saved. save is called with the list after
// every change. server says whether there is a server that is told of gaps.
func NewGaps(saved GapList, server bool, save func(GapList)) *Gaps {
	g := &Gaps{list: saved, server: server, save: save, more: make(chan struct{}, 1)}
	if len(g.Pending()) > 0 {
		g.signal()
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
	for i := range g.list.Gaps {
		gap := &g.list.Gaps[i]
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
	g.list.Gaps = append(g.list.Gaps, Noted{Gap: api.Gap{ID: newID(), Path: path, From: from.UTC(), To: to.UTC(), Cause: cause}})
	g.save(g.list)
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails on the systems Go supports
	return hex.EncodeToString(b[:])
}

// prune forgets gaps that were closed long ago and told. When there are too many
// all the same, the closed ones go first, then the open ones of one cause become
// one of everything.
func (g *Gaps) prune() {
	g.list.Gaps = slices.DeleteFunc(g.list.Gaps, func(gap Noted) bool {
		return gap.Closed != nil && (gap.Told || !g.server) && time.Since(*gap.Closed) >= closedFor
	})
	for len(g.list.Gaps) >= gapsMax {
		i := slices.IndexFunc(g.list.Gaps, func(gap Noted) bool { return gap.Closed != nil })
		if i < 0 {
			g.join()
			return
		}
		if g.server && !g.list.Gaps[i].Told {
			g.list.Evicted++
		}
		g.list.Gaps = slices.Delete(g.list.Gaps, i, i+1)
	}
}

// join makes one gap of all open ones of a cause: everywhere, from the first to
// the last.
func (g *Gaps) join() {
	var out []Noted
	for _, gap := range g.list.Gaps {
		i := slices.IndexFunc(out, func(o Noted) bool { return o.Cause == gap.Cause })
		if i < 0 {
			gap.Path = "/"
			out = append(out, gap)
			continue
		}
		if gap.From.Before(out[i].From) {
			out[i].From = gap.From
		}
		if gap.To.After(out[i].To) {
			out[i].To = gap.To
		}
	}
	g.list.Gaps = out
}

// Close notes that a sweep of files made up for a gap, begun at a time: a gap that
// has been extended since stays open.
func (g *Gaps) Close(id string, began time.Time, files int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.list.Gaps {
		gap := &g.list.Gaps[i]
		if gap.ID != id || gap.Closed != nil {
			continue
		}
		gap.Files += files
		if gap.To.After(began) {
			g.signal()
			return
		}
		now := time.Now().UTC()
		gap.Closed = &now
		g.save(g.list)
	}
}

// Told notes that the server was told of gaps as they are in told: those closed
// there need not be kept for it.
func (g *Gaps) Told(told []api.Gap) {
	g.mu.Lock()
	defer g.mu.Unlock()
	closed := map[string]bool{}
	for _, gap := range told {
		closed[gap.ID] = gap.Closed != nil
	}
	changed := false
	for i := range g.list.Gaps {
		gap := &g.list.Gaps[i]
		if closed[gap.ID] && !gap.Told {
			gap.Told, changed = true, true
		}
	}
	if changed {
		g.save(g.list)
	}
}

// Evicted counts closed gaps that were forgotten before the server knew of them.
func (g *Gaps) Evicted() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.list.Evicted
}

// Pending returns the open gaps, oldest first.
func (g *Gaps) Pending() []api.Gap {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []api.Gap
	for _, gap := range g.list.Gaps {
		if gap.Closed == nil {
			out = append(out, gap.Gap)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].From.Before(out[j].From) })
	return out
}

// List returns the gaps to tell next: open ones first, then closed ones of which
// the server does not know, then those closed lately.
func (g *Gaps) List() []api.Gap {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := slices.Clone(g.list.Gaps)
	rank := func(gap Noted) int {
		switch {
		case gap.Closed == nil:
			return 0
		case g.server && !gap.Told:
			return 1
		}
		return 2
	}
	sort.SliceStable(list, func(i, j int) bool {
		if a, b := rank(list[i]), rank(list[j]); a != b {
			return a < b
		}
		return list[i].From.After(list[j].From)
	})
	out := make([]api.Gap, 0, gapsShown)
	for _, gap := range list[:min(len(list), gapsShown)] {
		out = append(out, gap.Gap)
	}
	return out
}

// More receives after a gap was opened.
func (g *Gaps) More() <-chan struct{} { return g.more }
