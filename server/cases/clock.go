package cases

import (
	"fmt"
	"slices"
	"time"
)

// Calendar says when a clock runs. Times are UTC.
type Calendar string

// Calendars.
const (
	Always   Calendar = "always"   // day and night
	Business Calendar = "business" // Monday to Friday, 08:00 to 17:00
	Shift    Calendar = "shift"    // due when the shift ends: 06:00, 14:00, 22:00
	Policy   Calendar = "policy"   // the organisation's own policy: somebody must set the time
)

const (
	dayBegins, dayEnds = 8 * time.Hour, 17 * time.Hour
	shiftLength        = 8 * time.Hour
	firstShift         = 6 * time.Hour
	shortestShift      = 30 * time.Minute // what begins later belongs to the next shift
)

func (c Calendar) known() bool {
	switch c {
	case Always, Business, Shift, Policy:
		return true
	}
	return false
}

// Due is when a clock that starts at from runs out after d of the calendar's time.
// For Shift d counts nothing: the clock runs to the end of the shift. ok is false
// for Policy, which knows no time of its own.
func (c Calendar) Due(from time.Time, d time.Duration) (due time.Time, ok bool) {
	from = from.UTC()
	switch c {
	case Always:
		return from.Add(d), true
	case Business:
		return addBusiness(from, d), true
	case Shift:
		end := from.Truncate(24 * time.Hour).Add(firstShift)
		for end.Sub(from) < shortestShift {
			end = end.Add(shiftLength)
		}
		return end, true
	}
	return time.Time{}, false
}

// Spent is how much of the calendar's time lies between two times.
func (c Calendar) Spent(from, to time.Time) time.Duration {
	from, to = from.UTC(), to.UTC()
	if !to.After(from) {
		return 0
	}
	if c != Business {
		return to.Sub(from)
	}
	var sum time.Duration
	for day := from.Truncate(24 * time.Hour); day.Before(to); day = day.Add(24 * time.Hour) {
		begin, end := businessHours(day)
		sum += max(0, minTime(end, to).Sub(maxTime(begin, from)))
	}
	return sum
}

// businessHours returns the working time of a day that begins at midnight UTC; at
// weekends the two are the same.
func businessHours(day time.Time) (begin, end time.Time) {
	begin = day.Add(dayBegins)
	if wd := day.Weekday(); wd == time.Saturday || wd == time.Sunday {
		return begin, begin
	}
	return begin, day.Add(dayEnds)
}

// longestBusiness bounds what is added: two years of working days.
const longestBusiness = 2 * 260 * (dayEnds - dayBegins)

func addBusiness(from time.Time, d time.Duration) time.Time {
	d = min(max(d, 0), longestBusiness)
	for day := from.Truncate(24 * time.Hour); ; day = day.Add(24 * time.Hour) {
		begin, end := businessHours(day)
		begin = maxTime(begin, from)
		room := end.Sub(begin)
		if room <= 0 {
			continue
		}
		if d <= room {
			return begin.Add(d)
		}
		d -= room
	}
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Metrics of a case that clocks measure; clocks of tasks have Task instead.
const (
	Acknowledge = "acknowledge"
	Triage      = "triage"
	Contain     = "contain"
	Resolve     = "resolve"
	Task        = "task"
)

// Clock is a promise about time. All of it is stored, nothing ticks in memory: a
// restart changes nothing, and Next says when somebody must look again.
type Clock struct {
	ID          string    `json:"id"`
	Case        string    `json:"case"`
	Task        string    `json:"task"` // id of the task; "" for a metric of the case
	Metric      string    `json:"metric"`
	Title       string    `json:"title"`
	Roles       []string  `json:"roles"` // who is to keep it
	Calendar    Calendar  `json:"calendar"`
	Started     time.Time `json:"started,omitzero"`
	Due         time.Time `json:"due,omitzero"`
	PausedAt    time.Time `json:"paused_at,omitzero"` // zero: it runs
	PauseReason string    `json:"pause_reason"`
	Pauses      []Pause   `json:"pauses"`
	Stopped     time.Time `json:"stopped,omitzero"`  // zero: it is not over
	Marks       int       `json:"marks"`             // percent of the last mark that was noted: 0, 50, 80 or 100
	Breached    time.Time `json:"breached,omitzero"` // when the breach was noted
}

// Pause is a time that did not count.
type Pause struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
}

// PauseReasons are the only reasons for which a clock may stand still.
func PauseReasons() []string {
	return []string{"waiting for the customer", "approved maintenance window", "waiting for HR or Legal"}
}

// Mark is a share of a clock's time at which people are told.
type Mark struct {
	Percent int
	At      time.Time
}

// NextMark returns the first mark after the ones noted; ok is false for a clock
// that is stopped, stands still, or has noted its breach.
func (c *Clock) NextMark() (Mark, bool) {
	if !c.Stopped.IsZero() || !c.PausedAt.IsZero() || c.Due.IsZero() {
		return Mark{}, false
	}
	for _, percent := range []int{50, 80, 100} {
		if percent > c.Marks {
			return Mark{percent, c.at(percent)}, true
		}
	}
	return Mark{}, false
}

// at is when a share of the clock's time is used up. Between start and due the
// calendar's own time counts, so a night in the middle of a working-day clock
// does not bring the warning forward.
func (c *Clock) at(percent int) time.Time {
	if percent == 100 {
		return c.Due
	}
	whole := c.Calendar.Spent(c.counted(), c.Due)
	if c.Calendar == Business {
		return addBusiness(c.counted(), whole*time.Duration(percent)/100)
	}
	return c.counted().Add(whole * time.Duration(percent) / 100)
}

// counted is the start moved on by what did not count.
func (c *Clock) counted() time.Time {
	from := c.Started
	for _, p := range c.Pauses {
		from = from.Add(c.Calendar.Spent(p.From, p.To))
	}
	return from
}

// Pause lets the clock stand still from now on.
func (c *Clock) Pause(now time.Time, reason string) error {
	switch {
	case !c.Stopped.IsZero():
		return fmt.Errorf("%w: the clock has stopped", ErrRefused)
	case !c.PausedAt.IsZero():
		return fmt.Errorf("%w: the clock stands still already", ErrRefused)
	case !slices.Contains(PauseReasons(), reason):
		return fmt.Errorf("%w: %.80q is no reason to pause: there are %q", ErrRefused, reason, PauseReasons())
	case now.After(c.Due):
		return fmt.Errorf("%w: the clock has run out already", ErrRefused)
	}
	c.PausedAt, c.PauseReason = now, reason
	return nil
}

// Resume lets a paused clock run again; its due time moves by the time paused.
func (c *Clock) Resume(now time.Time) error {
	if c.PausedAt.IsZero() || !c.Stopped.IsZero() {
		return fmt.Errorf("%w: the clock does not stand still", ErrRefused)
	}
	left := c.Calendar.Spent(c.PausedAt, c.Due)
	c.Pauses = append(c.Pauses, Pause{c.PausedAt, now, c.PauseReason})
	if c.Calendar == Business {
		c.Due = addBusiness(now.UTC(), left)
	} else {
		c.Due = now.UTC().Add(left)
	}
	c.PausedAt, c.PauseReason = time.Time{}, ""
	return nil
}

// Stop ends the clock. A clock that stood still is taken as paused to its end.
func (c *Clock) Stop(now time.Time) {
	if c.Stopped.IsZero() {
		c.Stopped = now.UTC()
	}
}

// Kept reports whether a clock that is over was stopped in time.
func (c *Clock) Kept() bool {
	if c.Stopped.IsZero() {
		return false
	}
	return !c.PausedAt.IsZero() || !c.Stopped.After(c.Due)
}

// Steady is a clock that never runs backwards while the process lives: the later
// of the wall clock and what the monotonic clock has counted since the start. A
// wall clock that is set back therefore delays no breach.
type Steady struct {
	start time.Time
	wall  func() time.Time
	since func() time.Duration
}

// NewSteady starts a steady clock over a wall clock and a count of the time that
// has gone by since now.
func NewSteady(wall func() time.Time, since func() time.Duration) *Steady {
	return &Steady{start: wall().Round(0), wall: wall, since: since}
}

// Now returns the steady time and how far the wall clock has moved against it
// since the start: positive when it was set forward.
func (s *Steady) Now() (now time.Time, jump time.Duration) {
	wall, counted := s.wall().Round(0), s.start.Add(s.since())
	return maxTime(wall, counted).UTC(), wall.Sub(counted)
}
