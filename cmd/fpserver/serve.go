package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"weightwarden/internal/api"
	"weightwarden/internal/buildinfo"
	"weightwarden/internal/cli"
	"weightwarden/server"
	"weightwarden/server/auth"
)

// serveFlags are those of fpserver serve.
type serveFlags struct {
	data, listen, database, names, level, url string
	life, idle                                time.Duration // of sessions
	rate                                      float64       // requests a second of a token
	oidc                                      string        // file
}

func serveCommand() cli.Command {
	return cli.Command{
		Name:    "serve",
		Summary: "serve the API and the console",
		Help: `The first start makes DIR with a certificate authority, keys, an administrator's token and, unless
--database-url names a PostgreSQL, an SQLite database. Several servers may share one PostgreSQL; give
each a copy of ca.pem, ca.key and snapshot.key. SIGTERM ends it after the requests under way.`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			f := &serveFlags{}
			fs.StringVar(&f.data, "data", "", "`DIR` for keys and the database")
			fs.StringVar(&f.listen, "listen", "127.0.0.1:8443", "`ADDR` to listen on; port 0 takes a free one")
			fs.StringVar(&f.database, "database-url", "", "`URL` of a PostgreSQL database (default: SQLite in DIR)")
			fs.StringVar(&f.names, "names", "", "further `NAMES` and addresses of this server for its certificate, with commas")
			fs.DurationVar(&f.life, "session-life", 12*time.Hour, "`TIME` after which people must sign in to the console anew")
			fs.DurationVar(&f.idle, "session-idle", 2*time.Hour, "`TIME` without use after which a session of the console ends")
			fs.Float64Var(&f.rate, "token-rate", 50, "`N` requests a second that a token, a person or a stranger's address may make")
			fs.StringVar(&f.url, "url", "", "`URL` of this server as browsers see it (https://NAME[:PORT]); people may have passkeys then")
			fs.StringVar(&f.oidc, "oidc", "", "JSON `FILE` that says how people sign in at an identity provider")
			fs.StringVar(&f.level, "log-level", "info", "`LEVEL`: debug, info, warn, error")
			return func(ctx context.Context, env *cli.Env, args []string) error { return serve(ctx, env, f, args) }
		},
	}
}

func serve(ctx context.Context, env *cli.Env, f *serveFlags, args []string) (err error) {
	if f.data == "" || len(args) > 0 {
		return cli.Usagef("--data DIR is wanted, and nothing else but flags")
	}
	if f.life <= 0 || f.idle <= 0 || !(f.rate > 0) {
		return cli.Usagef("--session-life, --session-idle and --token-rate must be positive")
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return cli.Usagef("log level %q", f.level)
	}
	cfg := server.Config{DataDir: f.data, DatabaseURL: f.database, Version: buildinfo.Version(), Notice: env.Stdout, SessionLife: f.life, SessionIdle: f.idle, TokenRate: f.rate, URL: f.url,
		Log: slog.New(slog.NewJSONHandler(env.Stderr, &slog.HandlerOptions{Level: level}))}
	if f.names != "" {
		cfg.Names = strings.Split(f.names, ",")
	}
	if f.oidc != "" {
		oidc, err := auth.ReadOIDCConfig(f.oidc)
		if err != nil {
			return err
		}
		if cfg.OIDC, err = auth.NewOIDC(*oidc); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return cli.Hint(err, "name another address with --listen")
	}
	defer l.Close()
	s, err := server.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	fmt.Fprintf(env.Stdout, "CA pin: %s\nlistening on https://%s\n", api.PinOf(s.CA()), l.Addr())
	return s.Serve(ctx, l)
}
