package health

import (
	"fmt"
	"sort"
	"sync"
	"time"
)

// Pulses watch that loops go round. A loop that stands still is said, and the
// service manager then starts the agent again.
type Pulses struct {
	now func() time.Time

	mu   sync.Mutex
	list map[string]pulse
}

type pulse struct {
	last   time.Time
	within time.Duration
}

// NewPulses returns Pulses without loops.
func NewPulses() *Pulses { return &Pulses{now: time.Now, list: map[string]pulse{}} }

// Beat says that a loop is alive and will say so again within a time.
func (p *Pulses) Beat(loop string, within time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list[loop] = pulse{p.now(), within}
}

// End says that a loop ended as it should.
func (p *Pulses) End(loop string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.list, loop)
}

// Late lists the loops that stand still.
func (p *Pulses) Late() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for loop, b := range p.list {
		if silent := p.now().Sub(b.last); silent > b.within {
			out = append(out, fmt.Sprintf("%s has stood still for %v", loop, silent.Round(time.Second)))
		}
	}
	sort.Strings(out)
	return out
}
