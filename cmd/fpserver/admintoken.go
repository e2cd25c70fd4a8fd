package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"weightwarden/internal/cli"
	"weightwarden/server/auth"
	"weightwarden/server/store"
)

func adminTokenCommand() cli.Command {
	return cli.Command{
		Name:    "admin-token",
		Summary: "make a new administrator's token, where nobody can sign in any more",
		Help: `The server may run. The token is written to admin-token in DIR (mode 0600), may do what the role admin may,
and is good for a few hours: enough for 'fpctl account add' or 'fpctl account reset'. It is an entry of the
audit log. Who can read the data folder can do this, and everything else.`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			data := fs.String("data", "", "`DIR` of the server")
			database := fs.String("database-url", "", "`URL` of the server's PostgreSQL database")
			hours := fs.Int("hours", 4, "`N` hours that it is good")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if *data == "" || *hours < 1 || *hours > 720 || len(args) > 0 {
					return cli.Usagef("--data is wanted, --hours of 1 to 720, and nothing else")
				}
				return adminToken(ctx, env, *data, *database, time.Duration(*hours)*time.Hour)
			}
		},
	}
}

func adminToken(ctx context.Context, env *cli.Env, data, database string, life time.Duration) (err error) {
	cfg := store.Config{Path: filepath.Join(data, "server.db"), URL: database}
	if database == "" {
		if _, err := os.Stat(cfg.Path); err != nil {
			return fmt.Errorf("no SQLite database of a server: %w", err)
		}
	}
	st, err := store.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	text, secret := auth.NewToken()
	path := filepath.Join(data, "admin-token")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return cli.Hint(err, "that token is there still: use it, or move the file away")
	}
	if _, err = f.WriteString(text + "\n"); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	t := store.Token{Name: "administrator, made on the server's machine", Roles: []string{auth.RoleAdmin}, Expires: time.Now().Add(life)}
	if t, err = st.AddToken(ctx, store.ServerActor(), t, secret); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	_, err = fmt.Fprintf(env.Stdout, "admin token: %s, good until %s\n", path, t.Expires.UTC().Format("2006-01-02 15:04:05 UTC"))
	return err
}
