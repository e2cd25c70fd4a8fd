package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"weightwarden/internal/buildinfo"
	"weightwarden/internal/cli"
	"weightwarden/server"
	"weightwarden/server/demodata"
	"weightwarden/server/store"
)

type demoFlags struct {
	data      string
	force     bool
	keepAlive bool
}

func demoDataCommand() cli.Command {
	return cli.Command{
		Name:    "demo-data",
		Summary: "fill an empty data folder with a made-up fortnight, to look around",
		Help: `Writes a fleet, models, copies caught, alerts in every state, sweeps and authorisations into DIR, as if
the server had run for two weeks. Nothing leaves the machine. Then: fpserver serve --data DIR, and sign
in with the token in DIR/admin-token. It refuses a folder that has models or agents, unless --force.
With --keep-alive it then lets the made-up agents be heard each minute until it is interrupted, so
that they do not turn silent while you look; the server may run at the same time.`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			f := &demoFlags{}
			fs.StringVar(&f.data, "data", "", "`DIR` for keys and the database")
			fs.BoolVar(&f.force, "force", false, "add to what is there")
			fs.BoolVar(&f.keepAlive, "keep-alive", false, "go on with heartbeats until interrupted")
			return func(ctx context.Context, env *cli.Env, args []string) error { return demoData(ctx, env, f, args) }
		},
	}
}

func demoData(ctx context.Context, env *cli.Env, f *demoFlags, args []string) error {
	if f.data == "" || len(args) > 0 {
		return cli.Usagef("--data DIR is wanted, and nothing else but flags")
	}
	now := time.Now()
	clock := demodata.NewClock(now)
	s, err := server.New(ctx, server.Config{DataDir: f.data, Version: buildinfo.Version(), Notice: env.Stdout, Now: clock.Now,
		Log: slog.New(slog.NewJSONHandler(env.Stderr, nil))})
	if err != nil {
		return err
	}
	err = errors.Join(s.FillDemo(ctx, clock, now, f.force), s.Close())
	if errors.Is(err, demodata.ErrNotEmpty) && !f.keepAlive {
		return cli.Hint(err, "name an empty folder, or give --force to add to this one")
	}
	if err != nil && !errors.Is(err, demodata.ErrNotEmpty) {
		return err
	}
	fmt.Fprintf(env.Stdout, "filled %q; now: fpserver serve --data %q\n", f.data, f.data)
	if f.keepAlive {
		return keepAlive(ctx, env, f.data)
	}
	return nil
}

func keepAlive(ctx context.Context, env *cli.Env, data string) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	st, err := store.Open(ctx, store.Config{Path: filepath.Join(data, "server.db")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	fmt.Fprintln(env.Stdout, "the made-up agents are heard each minute; end with Ctrl-C")
	return demodata.KeepAlive(ctx, st)
}
