package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"weightwarden/agent/localapi"
	"weightwarden/internal/api"
	"weightwarden/internal/cli"
)

func statusCommand() cli.Command {
	return cli.Command{
		Name: "status", Summary: "ask the running agent how it is",
		Help: "Exit code 0: all is well; 2: degraded, broken or not running.",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			var s settings
			s.declare(fs)
			return func(ctx context.Context, env *cli.Env, _ []string) error {
				cfg, err := s.load()
				if err != nil {
					return err
				}
				st, err := localapi.Get(ctx, cfg.SocketPath())
				if errors.Is(err, localapi.ErrNotRunning) {
					return cli.Hint(err, "is 'fpagent run' running with the same --state, and are you its user?")
				}
				if err != nil {
					return err
				}
				if st.State != "ok" {
					env.Exit = cli.ExitError
				}
				if env.JSON {
					return cli.WriteJSON(env.Stdout, st)
				}
				printStatus(env, st)
				return nil
			}
		},
	}
}

func printStatus(env *cli.Env, s *localapi.Status) {
	style := cli.Style{Colour: cli.ColourFor(env, env.Stdout)}
	paint := map[string]func(string) string{"ok": style.Green, "degraded": style.Yellow, "broken": style.Red, "partial": style.Yellow}
	coloured := func(state string) string {
		if f, ok := paint[state]; ok {
			return f(state)
		}
		return cli.PrintableLine(state)
	}
	w := env.Stdout
	line := func(label, format string, args ...any) {
		fmt.Fprintf(w, "%-11s %s\n", label, cli.PrintableLine(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintf(w, "%-11s %s\n", "agent", coloured(s.State))
	line("running", "pid %d since %s, version %s", s.PID, s.Started.Local().Format(time.DateTime), s.Version)
	if s.AgentID == "" {
		line("server", "not enrolled")
	} else {
		line("server", "%s as %s, last contact %s", s.Server, s.AgentID, ago(s.LastContact))
	}
	line("snapshot", "%s", snapshotText(s.Snapshot))
	for _, p := range s.Watches {
		fmt.Fprintf(w, "%-11s %s  %s  %s  %s\n", "watch", coloured(p.State), cli.PrintableLine(p.Path), p.Tier, style.Dim(cli.PrintableLine(p.Detail)))
	}
	line("processes", "%s", s.Processes)
	if s.Parsing != "" {
		line("parsing", "%s", s.Parsing)
	}
	line("hits", "%d found, %d wait for the server", s.Files.Hits, s.Spool.Pending)
	line("files", "%d events, %d large enough, %d judged, %d unchanged, %s read", s.Files.Events, s.Files.Gated,
		s.Files.Judged, s.Files.Unchanged, cli.Bytes(int64(s.Files.Bytes)))
	printGaps(w, style, s.Gaps)
	for _, h := range s.Health {
		colour := style.Yellow
		if h.Severity == "error" {
			colour = style.Red
		}
		fmt.Fprintf(w, "%-11s %s  %s (since %s)\n", "health", colour(cli.PrintableLine(h.Code)), cli.PrintableLine(h.Text), h.Since.Local().Format(time.DateTime))
	}
}

func snapshotText(s localapi.Snapshot) string {
	if s.File == "" {
		return "none: files wait to be judged"
	}
	text := fmt.Sprintf("epoch %d, %s", s.Epoch, s.File)
	if s.Expires != nil {
		text += ", good until " + s.Expires.Local().Format(time.DateTime)
	}
	return text
}

func printGaps(w io.Writer, style cli.Style, gaps []api.Gap) {
	shown := 0
	for _, g := range gaps {
		if g.Closed != nil {
			continue
		}
		if shown++; shown > 5 {
			break
		}
		fmt.Fprintf(w, "%-11s %s  %s  %s, being made up for\n", "gap", style.Yellow("open"), cli.PrintableLine(g.Path), cli.PrintableLine(g.Cause))
	}
	if closed := len(gaps) - shown; closed > 0 && shown <= 5 {
		fmt.Fprintf(w, "%-11s %d closed in the last hour\n", "gaps", closed)
	}
}

func ago(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return time.Since(*t).Round(time.Second).String() + " ago"
}
