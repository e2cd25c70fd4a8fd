package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"weightwarden/internal/cli"
	"weightwarden/server/loadtest"
)

func loadtestCommand() cli.Command {
	return cli.Command{
		Name:    "loadtest",
		Args:    "URL ...",
		Summary: "simulate a fleet of agents against a running server, then count what it stored",
		Help: `It enrols agents, sends heartbeats and hits, and leaves both in the database: use a server made for
the test. With several URLs (servers over one PostgreSQL) the requests take turns. Exit code 2 when a
hit was lost or doubled.`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			cfg := loadtest.Config{}
			data := fs.String("data", "", "`DIR` of the server, for its CA and the administrator's token")
			fs.IntVar(&cfg.Agents, "agents", 1000, "`N` agents")
			fs.IntVar(&cfg.Rate, "rate", 1000, "`N` hits a second")
			fs.IntVar(&cfg.Batch, "batch", 5, "`N` hits of one delivery")
			fs.DurationVar(&cfg.Duration, "for", time.Minute, "`TIME` of load")
			fs.DurationVar(&cfg.Beat, "beat", time.Minute, "`TIME` between two heartbeats of an agent")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if *data == "" || len(args) == 0 || cfg.Agents < 1 || cfg.Rate < 1 || cfg.Batch < 1 {
					return cli.Usagef("--data, at least one URL, and numbers from 1 on are wanted")
				}
				cfg.Servers = args
				return runLoad(ctx, env, cfg, *data)
			}
		},
	}
}

func runLoad(ctx context.Context, env *cli.Env, cfg loadtest.Config, data string) error {
	ca, err := os.ReadFile(data + "/ca.pem")
	if err != nil {
		return err
	}
	token, err := os.ReadFile(data + "/admin-token")
	if err != nil {
		return err
	}
	cfg.CA, cfg.Token = ca, strings.TrimSpace(string(token))
	cfg.Progress = func(text string) { fmt.Fprintln(env.Stderr, text) }
	rep, err := loadtest.Run(ctx, cfg)
	if err != nil {
		return err
	}
	if env.JSON {
		err = cli.WriteJSON(env.Stdout, rep)
	} else {
		_, err = fmt.Fprintf(env.Stdout, `enrolment       %.0f agents/s (%d agents)
hits            %.0f/s for %.0f s, %d acknowledged, %d deliveries tried again
acknowledged    p50 %.0f ms, p95 %.0f ms, p99 %.0f ms, longest %.0f ms
heartbeats      %d
stored          %d; missing %d, doubled %d
`, rep.EnrolPerSecond, rep.Agents, rep.HitsPerSecond, rep.Seconds, rep.Hits, rep.Retries, rep.P50, rep.P95, rep.P99, rep.Max, rep.Heartbeats,
			rep.Stored, rep.Missing, rep.Doubled)
	}
	if err == nil && rep.Missing+rep.Doubled > 0 {
		err = errors.New("hits were lost or doubled")
	}
	return err
}
