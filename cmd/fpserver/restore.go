package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"weightwarden/internal/cli"
	"weightwarden/server/audit"
	"weightwarden/server/store"
)

func restoreCommand() cli.Command {
	return cli.Command{
		Name:    "restore",
		Summary: "make a new data folder, or fill an empty PostgreSQL database, from a backup",
		Help: `The backup is checked first: the database's own structure, and every entry of its audit log against the
log's Merkle tree. Nothing that exists is overwritten. With --database-url the rows go into that PostgreSQL
database, which must be new; so a server on SQLite moves to PostgreSQL the same way.`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			from := fs.String("from", "", "`DIR` of the backup")
			data := fs.String("data", "", "new `DIR` for the server")
			database := fs.String("database-url", "", "`URL` of an empty PostgreSQL database")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if *from == "" || *data == "" || len(args) > 0 {
					return cli.Usagef("--from and --data are wanted, and nothing else but flags")
				}
				return restore(ctx, env, *from, *data, *database)
			}
		},
	}
}

func restore(ctx context.Context, env *cli.Env, from, data, database string) error {
	if err := os.Mkdir(data, 0o700); err != nil {
		return cli.Hint(err, "name a folder that does not exist yet")
	}
	for _, name := range append(secrets(), "server.db") {
		if err := copyFile(filepath.Join(from, name), filepath.Join(data, name)); err != nil {
			return err
		}
	}
	path := filepath.Join(data, "server.db")
	entries, err := checkBackup(ctx, path)
	if err != nil {
		return fmt.Errorf("the backup is not good: %w", err)
	}
	where := "SQLite in " + data
	if database != "" {
		if err := copyDatabase(ctx, store.Config{Path: path}, store.Config{URL: database}); err != nil {
			return err
		}
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		where = "PostgreSQL"
	}
	_, err = fmt.Fprintf(env.Stdout, "restored to %s: %s checked\n", where, cli.Plural(int(entries), "audit entry", "audit entries"))
	return err
}

// copyDatabase copies all rows from one engine to the other.
func copyDatabase(ctx context.Context, from, to store.Config) (err error) {
	src, err := store.Open(ctx, from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	dst, err := store.Open(ctx, to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	_, err = src.CopyAll(ctx, dst)
	return err
}

// checkBackup reads a whole database: its structure, and the audit log against its
// tree.
func checkBackup(ctx context.Context, path string) (entries int64, err error) {
	s, err := store.Open(ctx, store.Config{Path: path})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.CheckIntegrity(ctx); err != nil {
		return 0, err
	}
	tree, err := s.AuditTree(ctx)
	if err != nil {
		return 0, err
	}
	return audit.Verify(ctx, s, tree)
}
