package ui

import (
	"fmt"
	"time"

	"weightwarden/server/store"
)

// ackWithin is how soon somebody shall have taken an alert of a severity, as the
// playbook PB-53 has it.
func ackWithin(severity int) time.Duration {
	switch severity {
	case store.SeverityCritical:
		return 5 * time.Minute
	case store.SeverityHigh:
		return 15 * time.Minute
	case store.SeverityMedium:
		return time.Hour
	}
	return 4 * time.Hour
}

// ackDue is until when somebody shall have taken an alert.
func ackDue(a store.Alert) time.Time { return a.FirstSeen.Add(ackWithin(a.Severity)) }

// ackTook says how long it took until somebody took an alert, and whether that was
// in time.
func ackTook(a store.Alert) string {
	if a.Acknowledged.IsZero() {
		return ""
	}
	took := a.Acknowledged.Sub(a.FirstSeen)
	if took > ackWithin(a.Severity) {
		return duration(took) + ", late"
	}
	return duration(took)
}

// countdown is the text of a time that something is due, as app.js goes on with it.
func countdown(due time.Time) string {
	left := time.Until(due)
	if left < 0 {
		return duration(-left) + " late"
	}
	return duration(left) + " left"
}

// countdownClass colours a countdown.
func countdownClass(from, due time.Time) string {
	now := time.Now()
	switch {
	case now.After(due):
		return "due-late"
	case now.Sub(from) > due.Sub(from)/2:
		return "due-half"
	}
	return "due-ok"
}

// duration is a span of time for people.
func duration(d time.Duration) string {
	s := int(d.Seconds())
	switch {
	case s >= 172800:
		return fmt.Sprintf("%d days", s/86400)
	case s >= 3600:
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// late are the times before which open alerts of each severity are late.
func late(now time.Time) (before [5]time.Time) {
	for severity := 1; severity <= 4; severity++ {
		before[severity] = now.Add(-ackWithin(severity))
	}
	return before
}
