package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// CopyAll copies every row of s into to, which must be a store of the other
// engine or an empty one: the schema is the same on both. What is read is one
// moment of s; what is written is one transaction, so that to has all of it or
// nothing. It returns how many rows were copied.
func (s *Store) CopyAll(ctx context.Context, to *Store) (rows int64, err error) {
	tables, err := s.tables(ctx, to)
	if err != nil {
		return 0, err
	}
	if err := to.mustBeNew(ctx); err != nil {
		return 0, err
	}
	opts := &sql.TxOptions{ReadOnly: true}
	if s.postgres {
		opts.Isolation = sql.LevelRepeatableRead
	}
	src, err := s.read.BeginTx(ctx, opts)
	if err != nil {
		return 0, err
	}
	defer src.Rollback()
	dst, err := to.write.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer dst.Rollback()
	for _, table := range slices.Backward(tables) { // rows that migrations made
		if _, err := dst.ExecContext(ctx, "DELETE FROM "+table); err != nil {
			return 0, fmt.Errorf("empty table %s: %w", table, err)
		}
	}
	for _, table := range tables {
		n, err := copyTable(ctx, src, dst, to, table)
		if err != nil {
			return 0, fmt.Errorf("table %s: %w", table, err)
		}
		rows += n
	}
	return rows, dst.Commit()
}

// mustBeNew refuses a database that somebody used.
func (s *Store) mustBeNew(ctx context.Context) error {
	var n int64
	if err := s.queryRow(ctx, "SELECT COUNT(*) FROM audit").Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("the database is in use, it has %d audit entries: %w", n, ErrConflict)
	}
	return nil
}

// tables lists the tables in the order in which migrations made them, so that
// what others refer to comes first. One of the two must be SQLite, which knows it.
func (s *Store) tables(ctx context.Context, to *Store) ([]string, error) {
	known := s
	if s.postgres {
		known = to
	}
	if known.postgres {
		return nil, errors.New("one side of the copy must be SQLite")
	}
	rows, err := known.query(ctx, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'goose%' ORDER BY rowid")
	return collect(rows, err, func(r *sql.Rows) (string, error) {
		var name string
		err := r.Scan(&name)
		return name, err
	})
}

func copyTable(ctx context.Context, src, dst *sql.Tx, to *Store, table string) (n int64, err error) {
	rows, err := src.QueryContext(ctx, "SELECT * FROM "+table)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	q := fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", table, strings.Join(columns, ", "), strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", "))
	insert, err := dst.PrepareContext(ctx, to.rebind(q))
	if err != nil {
		return 0, err
	}
	defer insert.Close()
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return n, err
		}
		if _, err := insert.ExecContext(ctx, values...); err != nil {
			return n, err
		}
		n++
	}
	return n, rows.Err()
}
