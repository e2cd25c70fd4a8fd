// Package store keeps everything a server knows: tokens, agents, the registry,
// hits, alerts, snapshots and the audit log. It runs on SQLite (embedded, the
// default) and on PostgreSQL (several servers over one database) with the same
// SQL and one conformance suite.
//
// All changes go through Store.Write: one goroutine collects what comes in
// within a few milliseconds and commits it in one transaction (group commit), so
// that durability costs one fsync for many hits. Readers have a pool of their
// own. A change and its audit entry are always one transaction.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	_ "github.com/jackc/pgx/v5/stdlib" // database/sql driver "pgx"
	_ "modernc.org/sqlite"             // database/sql driver "sqlite"
)

// Errors that callers tell apart.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("conflict")
	ErrClosed   = errors.New("store is closed")
	ErrBusy     = errors.New("store is overloaded")
)

// Config says where the database is.
type Config struct {
	Path string           // SQLite file; used if URL is empty
	URL  string           // postgres://...
	Now  func() time.Time // nil: time.Now
}

// Store is the database. Its methods are safe for concurrent use.
type Store struct {
	postgres bool
	read     *sql.DB
	write    *sql.DB
	reads    *statements // of read and write; nil on PostgreSQL
	writes   *statements
	jobs     chan *job
	closing  chan struct{}
	done     sync.WaitGroup
	once     sync.Once
	now      func() time.Time
}

// Open opens or creates the database and brings its schema up to date.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{
		postgres: cfg.URL != "",
		jobs:     make(chan *job, maxQueue),
		closing:  make(chan struct{}),
		now:      cfg.Now,
	}
	if s.now == nil {
		s.now = time.Now
	}
	if err := s.connect(ctx, cfg); err != nil {
		s.closeDBs()
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		s.closeDBs()
		return nil, fmt.Errorf("migrate database: %w", err)
	}
	writers := 1
	if s.postgres {
		writers = postgresWriters
	} else {
		s.reads, s.writes = newStatements(s.read), newStatements(s.write)
	}
	for range writers {
		s.done.Go(s.writeLoop)
	}
	return s, nil
}

// postgresWriters is how many transactions run at once on PostgreSQL. SQLite has
// one writer by nature.
const postgresWriters = 4

// postgresConns is how many connections a server opens to PostgreSQL, and keeps.
const postgresConns = 16

func (s *Store) connect(ctx context.Context, cfg Config) (err error) {
	if s.postgres {
		if s.read, err = sql.Open("pgx", cfg.URL); err != nil {
			return fmt.Errorf("open PostgreSQL: %w", err)
		}
		s.read.SetMaxOpenConns(postgresConns)
		s.read.SetMaxIdleConns(postgresConns) // a new connection is a new process there, and has no statement compiled
		s.write = s.read
		if err := s.read.PingContext(ctx); err != nil {
			return fmt.Errorf("connect to PostgreSQL: %w", err)
		}
		// The migrations say BLOB in both dialects.
		_, err = s.read.ExecContext(ctx, `DO $$ BEGIN CREATE DOMAIN blob AS bytea; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`)
		return err
	}
	if err := createPrivate(cfg.Path); err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	pragmas := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "cache_size(-65536)"}}
	dsn := "file:" + (&url.URL{Path: cfg.Path}).EscapedPath() + "?" + pragmas.Encode()
	if s.write, err = sql.Open("sqlite", dsn+"&_txlock=immediate"); err != nil {
		return fmt.Errorf("open SQLite: %w", err)
	}
	s.write.SetMaxOpenConns(1)
	if err := s.write.PingContext(ctx); err != nil {
		return fmt.Errorf("open database %q: %w", cfg.Path, err)
	}
	if s.read, err = sql.Open("sqlite", dsn+"&_pragma=query_only(ON)"); err != nil {
		return fmt.Errorf("open SQLite: %w", err)
	}
	s.read.SetMaxOpenConns(8)
	s.read.SetMaxIdleConns(8)
	return nil
}

// createPrivate makes the file of a new database, which holds secrets of targets: SQLite
// would let everybody read it who may enter its folder. It gives files beside it the
// same mode.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// Close finishes the writes under way and closes the database.
func (s *Store) Close() error {
	s.once.Do(func() { close(s.closing) })
	s.done.Wait()
	return s.closeDBs()
}

func (s *Store) closeDBs() error {
	err := errors.Join(s.reads.close(), s.writes.close())
	if s.read != nil {
		err = errors.Join(err, s.read.Close())
	}
	if s.write != nil && s.write != s.read {
		err = errors.Join(err, s.write.Close())
	}
	return err
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	return s.read.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

// Engine is "sqlite" or "postgres".
func (s *Store) Engine() string {
	if s.postgres {
		return "postgres"
	}
	return "sqlite"
}

// Keeps reports whether both engines keep a text as it is: PostgreSQL takes neither NUL
// nor what is not UTF-8, and a database must be able to move there.
func Keeps(text string) bool { return utf8.ValidString(text) && !strings.ContainsRune(text, 0) }

// querier is what Tx and Store share for reading.
type querier interface {
	query(ctx context.Context, q string, args ...any) (*sql.Rows, error)
	queryRow(ctx context.Context, q string, args ...any) *sql.Row
}

func (s *Store) query(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	if st := s.reads.learn(ctx, q); st != nil {
		return st.QueryContext(ctx, args...)
	}
	return s.read.QueryContext(ctx, s.rebind(q), args...)
}

func (s *Store) queryRow(ctx context.Context, q string, args ...any) *sql.Row {
	if st := s.reads.learn(ctx, q); st != nil {
		return st.QueryRowContext(ctx, args...)
	}
	return s.read.QueryRowContext(ctx, s.rebind(q), args...)
}

// rebind turns ? into $1, $2, ... for PostgreSQL. The package's SQL has no
// question marks in strings.
func (s *Store) rebind(q string) string {
	if !s.postgres {
		return q
	}
	out := make([]byte, 0, len(q)+16)
	n := 0
	for i := range len(q) {
		if q[i] != '?' {
			out = append(out, q[i])
			continue
		}
		n++
		out = fmt.Appendf(out, "$%d", n)
	}
	return string(out)
}

// collect scans all rows.
func collect[T any](rows *sql.Rows, err error, scan func(*sql.Rows) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

func notFound(err error, what string, id string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s %.100q: %w", what, id, ErrNotFound)
	}
	return err
}

// lastMicro is the end of the year 9999: JSON has no later time, and one that was
// written in another zone would make every list that has it fail.
var lastMicro = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).UnixMicro()

// micros is a time as the database has it; 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return min(t.UnixMicro(), lastMicro)
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
