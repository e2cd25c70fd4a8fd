package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"weightwarden/internal/cli"
	"weightwarden/server/store"
)

// secrets are the files beside the database without which its agents and
// snapshots are lost.
func secrets() []string { return []string{"ca.pem", "ca.key", "snapshot.key"} }

func backupCommand() cli.Command {
	return cli.Command{
		Name:    "backup",
		Summary: "copy the database and the keys of a server, running or not, to a new folder",
		Help: `The copy is consistent: every hit that was acknowledged before the backup began is in it. It is
read once more and checked. With --database-url the rows of that PostgreSQL database are copied, as of one
moment, into the same kind of folder; where they are many, its own tools are quicker. 'fpserver restore' makes a
server of the folder, on either engine.`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			data := fs.String("data", "", "`DIR` of the server")
			to := fs.String("to", "", "new `DIR` for the copy")
			database := fs.String("database-url", "", "`URL` of the server's PostgreSQL database")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if *data == "" || *to == "" || len(args) > 0 {
					return cli.Usagef("--data and --to are wanted, and nothing else")
				}
				return backup(ctx, env, *data, *database, *to)
			}
		},
	}
}

func backup(ctx context.Context, env *cli.Env, data, database, to string) (err error) {
	from := filepath.Join(data, "server.db")
	if database == "" {
		if _, err := os.Stat(from); err != nil {
			return fmt.Errorf("no SQLite database of a server: %w", err)
		}
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return cli.Hint(err, "name a folder that does not exist yet")
	}
	out := filepath.Join(to, "server.db")
	if database != "" {
		err = copyDatabase(ctx, store.Config{URL: database}, store.Config{Path: out})
	} else {
		err = vacuumInto(ctx, from, out)
	}
	if err != nil {
		return err
	}
	for _, name := range secrets() {
		if err := copyFile(filepath.Join(data, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	entries, err := checkBackup(ctx, out)
	if err != nil {
		return fmt.Errorf("the copy is not good: %w", err)
	}
	_, err = fmt.Fprintf(env.Stdout, "backup %s: database checked, %s\n", to, cli.Plural(int(entries), "audit entry", "audit entries"))
	return err
}

func vacuumInto(ctx context.Context, from, out string) (err error) {
	src, err := store.Open(ctx, store.Config{Path: from})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	return src.Backup(ctx, out)
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
