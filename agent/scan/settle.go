package scan

import (
	"context"
	"time"
)

// holdFor is how long an open descriptor may wait with a file: longer, and it
// would stand in the way of unmounting a stick.
const holdFor = 2 * time.Second

// settleLoop moves files on when their writers are done.
func (s *Scanner) settleLoop(ctx context.Context) {
	defer s.done.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next := s.settleDue(ctx, time.Now())
		if s.deps.Beat != nil {
			s.deps.Beat()
		}
		timer.Reset(min(next, 10*time.Second))
		select {
		case <-ctx.Done():
			s.dropPending()
			return
		case <-timer.C:
		case <-s.wake:
		}
	}
}

func (s *Scanner) dropPending() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, it := range s.pending {
		it.close()
		delete(s.pending, id)
	}
}

// settleDue looks at every file whose time has come, and returns how long until
// the next one.
func (s *Scanner) settleDue(ctx context.Context, now time.Time) time.Duration {
	s.mu.Lock()
	var due []*item
	next := time.Hour
	for id, it := range s.pending {
		if wait := it.due.Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		due = append(due, it)
		delete(s.pending, id)
	}
	s.mu.Unlock()
	for _, it := range due {
		if ctx.Err() != nil {
			it.close()
			continue
		}
		if wait := s.look(it, now); wait > 0 {
			it.due = now.Add(wait)
			next = min(next, wait)
			s.settle(it)
		}
	}
	return next
}

// look decides about one file: on to the judge (0), away (0), or wait longer.
func (s *Scanner) look(it *item, now time.Time) time.Duration {
	if it.file == nil {
		f, err := OpenFile(it.ev.Path)
		if err != nil {
			return 0 // gone; moved elsewhere there is an event of its own
		}
		it.file = f
	}
	info, err := Stat(it.file)
	if err != nil || info.ID != it.info.ID || s.tooSmall(info.Stamp.Size, it.ev.Path) {
		it.close()
		return 0
	}
	changed := info.Stamp != it.info.Stamp
	if changed {
		it.moved = now
	}
	it.info = info
	if s.settled(it, changed, now) {
		it.process, it.note = s.deps.Who.Who(info.ID, it.ev.Path, it.ev.PID, it.ev.At)
		s.ready(it)
		return 0
	}
	s.deps.Who.Observe(info.ID)
	it.tries++
	if now.Sub(it.first) > holdFor {
		it.close()
	}
	return s.backoff(it)
}

func (s *Scanner) settled(it *item, changed bool, now time.Time) bool {
	if now.Sub(it.first) >= s.opts.MaxWait {
		it.active = true
		return true
	}
	switch writers(it.file) {
	case writersNone:
		return true
	case writersActive:
		return false
	}
	return !changed && stoodStill(it, now) >= s.opts.Quiet && now.Sub(it.first) >= settleFirst
}

// stoodStill is how long a file has not changed: since its change time, or where
// that lies ahead because the clock was set back, since it was last seen to change.
func stoodStill(it *item, now time.Time) time.Duration {
	if age := time.Duration(now.UnixNano() - it.info.Stamp.Ctime); age >= 0 {
		return age
	}
	return now.Sub(it.moved)
}

func (s *Scanner) backoff(it *item) time.Duration {
	wait := 100 * time.Millisecond << min(it.tries, 8)
	return min(wait, max(s.opts.Quiet, 5*time.Second))
}

// ready hands a file to the judges; where they are too far behind, its folder is
// swept later instead.
func (s *Scanner) ready(it *item) {
	select {
	case s.events <- it:
	default:
		s.mu.Lock()
		s.shedLocked(it)
		s.mu.Unlock()
	}
}
