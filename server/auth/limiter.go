package auth

import (
	"sync"
	"time"
)

// Limiter slows down who guesses tokens or passwords. It counts failures only, by
// address. It is safe for concurrent use.
type Limiter struct {
	mu    sync.Mutex
	wrong map[string]*failures
}

type failures struct {
	n     int
	since time.Time
}

const (
	maxFailures   = 20
	failureWindow = 30 * time.Second
	maxAddresses  = 10000
)

// NewLimiter returns a limiter that lets 20 failures pass in 30 seconds.
func NewLimiter() *Limiter { return &Limiter{wrong: map[string]*failures{}} }

// MayTry reports whether an address may try now.
func (l *Limiter) MayTry(addr string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.wrong[addr]
	return f == nil || f.n < maxFailures || time.Since(f.since) > failureWindow
}

// Failed counts a failure of an address.
func (l *Limiter) Failed(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.wrong[addr]
	if f == nil || time.Since(f.since) > failureWindow {
		if len(l.wrong) >= maxAddresses {
			clear(l.wrong) // many addresses at once: forgetting is better than growing
		}
		f = &failures{since: time.Now()}
		l.wrong[addr] = f
	}
	f.n++
}
