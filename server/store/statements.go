package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// statements keeps what SQLite compiled of queries, by their text: reading the SQL
// anew costs as much as running it (docs/decisions/0561). PostgreSQL's driver does
// so by itself. A nil *statements knows none.
type statements struct {
	db    *sql.DB
	mu    sync.Mutex
	known map[string]*sql.Stmt
}

// maxStatements bounds the memory of queries with many forms; those beyond are read
// anew each time.
const maxStatements = 400

func newStatements(db *sql.DB) *statements {
	return &statements{db: db, known: map[string]*sql.Stmt{}}
}

// get returns the compiled form of a query, or nil.
func (s *statements) get(q string) *sql.Stmt {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[q]
}

// learn compiles a query. It takes a connection of the pool, so whoever holds the
// only one must not call it. A query that cannot be compiled is left to fail where
// it is run.
func (s *statements) learn(ctx context.Context, q string) *sql.Stmt {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	known, full := s.known[q], len(s.known) >= maxStatements
	s.mu.Unlock()
	if known != nil || full {
		return known
	}
	made, err := s.db.PrepareContext(ctx, q)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.known[q]; known != nil { // by another reader meanwhile
		_ = made.Close() // frees memory and no more
		return known
	}
	s.known[q] = made
	return made
}

func (s *statements) close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, st := range s.known {
		err = errors.Join(err, st.Close())
	}
	s.known = map[string]*sql.Stmt{}
	return err
}

// stmt returns the compiled form of a query for this transaction, or nil; then the
// query is compiled after the transaction, for later ones.
func (t *Tx) stmt(ctx context.Context, q string) *sql.Stmt {
	if t.stmts == nil {
		return nil
	}
	if st, ok := t.stmts[q]; ok {
		return st
	}
	var mine *sql.Stmt
	if st := t.s.writes.get(q); st != nil {
		mine = t.tx.StmtContext(ctx, st)
	}
	t.stmts[q] = mine
	return mine
}

// compile compiles what a transaction that has ended had to read anew.
func (t *Tx) compile(ctx context.Context) {
	for q, st := range t.stmts {
		if st == nil {
			t.s.writes.learn(ctx, q)
		}
	}
}
