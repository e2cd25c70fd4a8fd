package agent

import (
	"context"
	"fmt"
	"path/filepath"

	"weightwarden/agent/health"
	"weightwarden/agent/process"
	"weightwarden/agent/watch"
)

// followOwn says when somebody else changes the agent's own files. Root cannot be
// kept from it; it can be made known.
func (a *Agent) followOwn(ctx context.Context) {
	paths := append([]string{a.cfg.StateDir}, a.deps.Own...)
	for _, name := range []string{"spool", "snapshot", "quarantine"} {
		paths = append(paths, filepath.Join(a.cfg.StateDir, name))
	}
	own, err := watch.NewOwn(paths)
	if err != nil {
		a.deps.Log.Info("the agent's own files are not watched", "why", err)
		return
	}
	go func() {
		<-ctx.Done()
		own.Close()
	}()
	count := 0
	for t := range own.Events() {
		count++
		by := "an unknown process"
		if p, _ := a.procs.tracker.Who(process.FileID{}, t.Path, t.PID, t.At); p != nil {
			by = fmt.Sprintf("%q (pid %d, user %s)", p.Name, p.PID, a.users.of(p, -1).Name)
		}
		text := fmt.Sprintf("%q was %s by %s at %s; %d such events since the start", t.Path, t.What, by, t.At.UTC().Format("15:04:05"), count)
		a.deps.Log.Error("the agent's own files were changed", "path", t.Path, "what", t.What, "by", by)
		a.board.Set("tamper", health.Error, text)
	}
}
