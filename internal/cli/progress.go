package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Progress draws bytes, rate and time left of long work on a terminal. On
// anything else it is silent. Its methods are safe for concurrent use.
type Progress struct {
	mu      sync.Mutex
	w       io.Writer
	on      bool
	label   string
	total   int64
	done    int64
	started time.Time
	drawn   time.Time
	width   int
}

// NewProgress returns a bar on env.Stderr.
func NewProgress(env *Env) *Progress {
	return &Progress{w: env.Stderr, on: IsTerminal(env.Stderr) && !env.JSON}
}

// Start begins a piece of work of total bytes (0: unknown).
func (p *Progress) Start(label string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.label, p.total, p.done = PrintableLine(label), total, 0
	p.started, p.drawn = time.Now(), time.Time{}
}

// Label says what is being worked on, within the same piece of work.
func (p *Progress) Label(label string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.label = PrintableLine(label)
}

// Skip takes bytes out of the work that turned out not to be needed, so that they
// count neither for the rate nor for the time left.
func (p *Progress) Skip(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = max(0, p.total-n)
}

// Add counts bytes done.
func (p *Progress) Add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	now := time.Now()
	// Short work draws nothing: a bar that flashes by is noise.
	if !p.on || now.Sub(p.started) < 300*time.Millisecond || now.Sub(p.drawn) < 100*time.Millisecond {
		return
	}
	p.drawn = now
	p.draw(now.Sub(p.started))
}

func (p *Progress) draw(elapsed time.Duration) {
	rate := float64(p.done) / elapsed.Seconds()
	line := fmt.Sprintf("%s  %s  %s/s", shorten(p.label, 32), Bytes(p.done), Bytes(int64(rate)))
	if p.total > 0 && p.done <= p.total {
		share := float64(p.done) / float64(p.total)
		left := time.Duration(float64(p.total-p.done) / rate * float64(time.Second))
		full := int(share * 20)
		line = fmt.Sprintf("%s  [%s%s] %3.0f%%  %s of %s  %s/s  %s left", shorten(p.label, 32),
			strings.Repeat("█", full), strings.Repeat("·", 20-full), share*100,
			Bytes(p.done), Bytes(p.total), Bytes(int64(rate)), left.Round(time.Second))
	}
	n := len([]rune(line))
	fmt.Fprintf(p.w, "\r%s%s", line, strings.Repeat(" ", max(0, p.width-n)))
	p.width = n
}

// Clear wipes the bar, before other output and at the end.
func (p *Progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.width > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.width))
		p.width = 0
	}
}

func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return "…" + string(r[len(r)-n+1:])
}
