package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
)

func sweepCommand() cli.Command {
	return cli.Command{
		Name:    "sweep",
		Args:    "[PATH ...]",
		Summary: "order every agent to look at what is already there",
		Help: `Agents take the order with their next heartbeat and look at the places that they watch, or at the
PATHs that lie in those. 'fpctl sweep list' shows the coverage: a machine that was not reached is not clean.`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			model := fs.String("model", "", "`MODEL` that the question is about, for people")
			hours := fs.Int("hours", 0, "`N` hours that agents are waited for (0: 24)")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				c, err := connect(env)
				if err != nil {
					return err
				}
				var info api.SweepInfo
				if err := c.call(ctx, http.MethodPost, api.PathSweeps, nil, api.NewSweep{Model: *model, Paths: args, Hours: *hours}, &info); err != nil {
					return err
				}
				if env.JSON {
					return cli.WriteJSON(env.Stdout, info)
				}
				_, err = fmt.Fprintf(env.Stdout, "sweep %s: %s to reach\n", info.ID, cli.Plural(int(info.Agents), "agent", "agents"))
				return err
			}
		},
	}
}

func sweepListCommand() cli.Command {
	return simple("sweep list", "list sweeps with their coverage", func(ctx context.Context, env *cli.Env, c *client) error {
		return lister[api.SweepInfo]{path: api.PathSweeps, header: []string{"ID", "BEGUN", "MODEL", "AGENTS", "ASKED", "DONE", "FILES", "STATE"},
			right: []bool{false, false, false, true, true, true, true, false}, row: func(s api.SweepInfo) []string {
				state := "under way"
				if s.Complete {
					state = "complete"
				}
				return []string{s.ID, clock(s.Created), s.Model, cli.Count(s.Agents), cli.Count(s.Asked), cli.Count(s.Done), cli.Count(s.Files), state}
			}}.run(ctx, env, c, nil, 0)
	})
}
