package agent

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"weightwarden/agent/agenttest"
	"weightwarden/agent/config"
)

// TestClockMoved: the clock is set, or the machine sleeps, and what may have been
// missed is a gap; a clock that goes as it should makes none.
func TestClockMoved(t *testing.T) {
	wall := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		wall, steady time.Duration // how far each went
		from         time.Duration // of the gap, after the last look; -1: none
	}{
		"as it should":    {10 * time.Second, 10 * time.Second, -1},
		"drifts":          {12 * time.Second, 10 * time.Second, -1},
		"the loop hung":   {5 * time.Minute, 5 * time.Minute, -1},
		"set forward":     {3 * time.Hour, 10 * time.Second, 0},
		"set back":        {-3 * time.Hour, 10 * time.Second, -3*time.Hour - 10*time.Second},
		"slept":           {8 * time.Hour, 11 * time.Second, 0},
		"set by a decade": {10 * 365 * 24 * time.Hour, 10 * time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config.Default()
			cfg.StateDir, cfg.Watch.Paths = t.TempDir(), []string{"/data", "/home"}
			a, err := New(cfg, Deps{OpenRegistry: agenttest.OpenRegistry, Out: io.Discard, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer a.close()
			a.clockMoved(moment{wall, time.Hour}, moment{wall.Add(tt.wall), time.Hour + tt.steady})
			gaps := a.gapBox.take()
			if tt.from == -1 {
				if len(gaps) != 0 {
					t.Errorf("gaps %+v", gaps)
				}
				return
			}
			if len(gaps) != 2 {
				t.Fatalf("gaps %+v, want one a watched place", gaps)
			}
			for _, g := range gaps {
				if g.Cause != "suspend" || !g.From.Equal(wall.Add(tt.from)) {
					t.Errorf("gap %+v, want one from %v", g, wall.Add(tt.from))
				}
			}
		})
	}
}
