// Package health keeps what is not as it should be: named conditions, and gaps,
// the times and places that were not watched. Both go to the server with every
// heartbeat and to "fpagent status".
package health

import (
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
