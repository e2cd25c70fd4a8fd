package agent

import (
	"context"
	"strings"
	"time"

	"weightwarden/agent/health"
)

// parsingEvery is how often a child is started only to see that it works.
const parsingEvery = 10 * time.Minute

// checkParsing says how the structure of files is read, and warns where no
// confined child can be had: files then stay unread, each with a gap.
func (a *Agent) checkParsing(ctx context.Context) {
	for a.deps.Parsing != nil {
		held, err := a.deps.Parsing(ctx)
		if ctx.Err() != nil {
			return
		}
		text := "confined child: " + strings.Join(held, ", ")
		if err == nil {
			a.board.Clear("parsing")
		} else {
			text = "broken: " + err.Error()
			if a.board.Set("parsing", health.Error, err.Error()) {
				a.deps.Log.Error("no confined child reads files", "error", err)
			}
		}
		a.parsing.Store(&text)
		select {
		case <-ctx.Done():
			return
		case <-time.After(parsingEvery):
		}
	}
}
