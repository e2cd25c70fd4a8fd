package main

import (
	"context"
	"flag"
	"log/slog"
	"os"

	"weightwarden/agent"
	"weightwarden/internal/buildinfo"
	"weightwarden/internal/cli"
)

func runCommand() cli.Command {
	return cli.Command{
		Name: "run", Summary: "watch, judge and report until stopped",
		Help: "Hits go to standard output, one line each:\n" +
			"  HIT verdict=QUANTISED model=aurora version=3 path=/x/y.zip user=alice process=cp\n" +
			"Values that are not plain words are quoted as in Go. The log goes to standard error.",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			var s settings
			s.declare(fs)
			fs.StringVar(&s.registry, "registry", "", "local registry `FILE` (.fpdb) in place of the server's snapshot")
			fs.StringVar(&s.server, "server", "", "`URL` of the server, in place of the one of the enrolment")
			fs.Var(&s.watch, "watch", "watch `DIR` in place of the configured places; may be repeated")
			verbose := fs.Bool("verbose", false, "log every judged file and print CLEAR lines")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) > 0 {
					return cli.Usagef("unexpected %q", args[0])
				}
				return run(ctx, env, &s, *verbose)
			}
		},
	}
}

func run(ctx context.Context, env *cli.Env, s *settings, verbose bool) error {
	cfg, err := s.load()
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if verbose {
		level, cfg.Report.PrintClear = slog.LevelDebug, true
	}
	if env.JSON {
		cfg.Report.JSON = true
	}
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(env.Stderr, options)
	if env.JSON {
		handler = slog.NewJSONHandler(env.Stderr, options)
	}
	opener, parsing := newOpener(cfg)
	a, err := agent.New(cfg, agent.Deps{OpenRegistry: opener.open, Parsing: parsing, Own: ownFiles(s), Out: env.Stdout, Log: slog.New(handler), Version: buildinfo.Version()})
	if err != nil {
		return cli.Hint(err, "without root, give --state a folder of your own and --watch the folders to watch")
	}
	return a.Run(ctx)
}

// ownFiles are the program and the configuration that this agent runs with.
func ownFiles(s *settings) []string {
	var out []string
	if exe, err := os.Executable(); err == nil {
		out = append(out, exe)
	}
	if s.config != "" {
		return append(out, s.config)
	}
	return append(out, defaultConfig)
}
