package store

import (
	"context"
	"errors"
)

// Backup writes a consistent copy of an SQLite database to a new file while the
// store is in use. PostgreSQL has its own tools for this.
func (s *Store) Backup(ctx context.Context, path string) error {
	if s.postgres {
		return errors.New("the database is PostgreSQL: use pg_dump or its continuous archiving")
	}
	_, err := s.write.ExecContext(ctx, "VACUUM INTO ?", path)
	return err
}

// CheckIntegrity reads the whole database and reports damage.
func (s *Store) CheckIntegrity(ctx context.Context) error {
	if s.postgres {
		return nil
	}
	var answer string
	if err := s.queryRow(ctx, "PRAGMA integrity_check(1)").Scan(&answer); err != nil {
		return err
	}
	if answer != "ok" {
		return errors.New("database is damaged: " + answer)
	}
	return nil
}
