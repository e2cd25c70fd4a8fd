package auth

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rates holds every caller (a token, a person, the address of a stranger) to a rate of
// requests. It is safe for concurrent use.
type Rates struct {
	perSecond rate.Limit
	burst     int
	mu        sync.Mutex
	buckets   map[string]*rate.Limiter
}

// NewRates allows each caller perSecond requests on average and burst at once.
func NewRates(perSecond float64, burst int) *Rates {
	return &Rates{perSecond: rate.Limit(perSecond), burst: burst, buckets: map[string]*rate.Limiter{}}
}

// Wait returns 0 where a caller may go on, and otherwise how long it is to wait.
func (r *Rates) Wait(id string, now time.Time) time.Duration {
	r.mu.Lock()
	b := r.buckets[id]
	if b == nil {
		if len(r.buckets) >= maxAddresses {
			clear(r.buckets)
		}
		b = rate.NewLimiter(r.perSecond, r.burst)
		r.buckets[id] = b
	}
	r.mu.Unlock()
	res := b.ReserveN(now, 1)
	wait := res.DelayFrom(now)
	if wait > 0 {
		res.CancelAt(now)
	}
	return wait
}

// Crowd lets each caller have a few requests under way at a time. It is safe for
// concurrent use.
type Crowd struct {
	most int
	mu   sync.Mutex
	n    map[string]int
}

// NewCrowd allows each caller most requests at a time.
func NewCrowd(most int) *Crowd { return &Crowd{most: most, n: map[string]int{}} }

// Enter reports whether a caller may begin one more; if so, leave ends it.
func (c *Crowd) Enter(id string) (leave func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n[id] >= c.most {
		return nil, false
	}
	c.n[id]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.n[id]--; c.n[id] == 0 {
			delete(c.n, id)
		}
	}, true
}
