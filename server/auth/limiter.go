package auth

import (
	"net/netip"
	"sync"
	"time"
)

// Limiter slows down who guesses tokens or passwords. It counts failures only, by
// address; a network of IPv6 (/64), which one subscriber has whole, is one address. It
// is safe for concurrent use.
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

// Try counts a failure of an address, and returns 0 or how long the address has to wait
// before anything of it is looked at. Call it before looking, and Passed afterwards
// where it was no failure: many tries at once are counted as well as one by one.
func (l *Limiter) Try(addr string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	key, now := Network(addr), time.Now()
	f := l.wrong[key]
	if f == nil || now.Sub(f.since) > failureWindow {
		if len(l.wrong) >= maxAddresses {
			clear(l.wrong) // many addresses at once: forgetting is better than growing
		}
		f = &failures{since: now}
		l.wrong[key] = f
	}
	if f.n >= maxFailures {
		return f.since.Add(failureWindow).Sub(now) + 1
	}
	f.n++
	return 0
}

// Passed takes back a Try that was no failure.
func (l *Limiter) Passed(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.wrong[Network(addr)]; f != nil && f.n > 0 {
		f.n--
	}
}

// Network is what addresses are counted by: themselves, or the /64 of IPv6. What is no
// address is returned as it is.
func Network(addr string) string {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return addr
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return addr
	}
	return p.String()
}
