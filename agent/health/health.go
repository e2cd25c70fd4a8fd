// Package health keeps what is not as it should be: named conditions, and gaps,
// the times and places that were not watched. Both go to the server with every
// heartbeat and to "fpagent status".
package health

import (
	"slices"
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

const (
	overMost = 64             // conditions that ended, as they are kept
	overFor  = 24 * time.Hour // and shown, longer until the server knows
)

// Board holds the conditions that are true now, and those that ended: the server
// learns of one that came and went while it could not be reached. Its methods are safe
// for concurrent use.
type Board struct {
	mu   sync.Mutex
	list map[string]api.Health
	over []ended // in the order in which they ended
}

type ended struct {
	api.Health
	told bool
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
	h, ok := b.list[code]
	if !ok {
		return false
	}
	delete(b.list, code)
	now := time.Now().UTC()
	h.Until = &now
	if len(b.over) == overMost {
		b.over = slices.Delete(b.over, 0, 1)
	}
	b.over = append(b.over, ended{Health: h})
	return true
}

// Over returns the conditions that ended within a day, and those that the server does
// not know to have ended.
func (b *Board) Over() []api.Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = slices.DeleteFunc(b.over, func(e ended) bool { return e.told && time.Since(*e.Until) > overFor })
	var out []api.Health
	for _, e := range b.over {
		out = append(out, e.Health)
	}
	return out
}

// Told notes that the server knows of conditions that ended.
func (b *Board) Told(over []api.Health) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.over {
		e := &b.over[i]
		e.told = e.told || slices.ContainsFunc(over, func(h api.Health) bool { return h.Code == e.Code && h.Until.Equal(*e.Until) })
	}
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
