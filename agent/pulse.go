package agent

import (
	"context"
	"strings"
	"time"

	"weightwarden/agent/health"
)

const (
	beatEvery  = 10 * time.Second
	beatWithin = time.Minute      // a loop that goes round every ten seconds
	judgeStuck = 10 * time.Minute // files wait, and nothing is read or judged for so long
)

// watchLoops looks whether every loop goes round.
func (a *Agent) watchLoops(ctx context.Context) {
	var last uint64
	for {
		// A judge may take long over a large file, but then it reads.
		c := &a.scanner.Count
		work := c.Bytes.Load() + c.Judged.Load() + c.Unreadable.Load() + c.Unchanged.Load()
		if work != last || a.scanner.Idle() || a.registry.Load() == nil {
			a.pulses.Beat("judging", judgeStuck)
		}
		last = work
		if late := a.pulses.Late(); len(late) > 0 {
			text := strings.Join(late, "; ")
			if a.board.Set("stuck", health.Error, text) {
				a.deps.Log.Error("stuck", "what", text)
			}
		} else {
			a.board.Clear("stuck")
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(beatEvery):
		}
	}
}
