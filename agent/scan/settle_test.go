package scan

import (
	"testing"
	"time"
)

// TestStoodStill: a clock that is set back leaves change times ahead of it; a file
// that nobody writes settles all the same.
func TestStoodStill(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		ctime, moved time.Time
		want         time.Duration
	}{
		"written before":         {now.Add(-time.Minute), now.Add(-time.Second), time.Minute},
		"the clock was set back": {now.Add(3 * time.Hour), now.Add(-5 * time.Second), 5 * time.Second},
		"and it changed now":     {now.Add(3 * time.Hour), now, 0},
	} {
		it := &item{moved: tt.moved}
		it.info.Stamp.Ctime = tt.ctime.UnixNano()
		if got := stoodStill(it, now); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
