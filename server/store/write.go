package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	maxQueue    = 4096                 // jobs that wait; more get ErrBusy after busyWait
	maxBatch    = 256                  // jobs of one transaction
	gatherDelay = 3 * time.Millisecond // how long a batch waits for company
	busyWait    = 5 * time.Second
	maxTries    = 5
)

// Tx is a write transaction that several changes may share.
type Tx struct {
	s     *Store
	tx    *sql.Tx
	stmts map[string]*sql.Stmt // of this transaction; nil where it is not compiled yet
}

type job struct {
	ctx  context.Context
	run  func(context.Context, *Tx) error
	done chan error
}

// Write runs fn in a transaction and returns after the commit is on disk. fn may
// run more than once (after a conflict between servers), so it must not keep
// state between runs. If fn fails its changes are undone and those of others in
// the same transaction are not.
func (s *Store) Write(ctx context.Context, fn func(context.Context, *Tx) error) error {
	j := &job{ctx: ctx, run: fn, done: make(chan error, 1)}
	select {
	case s.jobs <- j:
	default:
		if err := s.enqueueSlow(ctx, j); err != nil {
			return err
		}
	}
	select {
	case err := <-j.done:
		return err
	case <-s.closing:
		// The loop drains the queue before it ends, so an answer still comes.
		s.done.Wait()
		select {
		case err := <-j.done:
			return err
		default:
			return ErrClosed
		}
	}
}

func (s *Store) enqueueSlow(ctx context.Context, j *job) error {
	t := time.NewTimer(busyWait)
	defer t.Stop()
	select {
	case s.jobs <- j:
		return nil
	case <-t.C:
		return ErrBusy
	case <-s.closing:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) writeLoop() {
	for {
		select {
		case j := <-s.jobs:
			s.commit(s.gather(j))
		case <-s.closing:
			for {
				select {
				case j := <-s.jobs:
					s.commit(s.gather(j))
				default:
					return
				}
			}
		}
	}
}

// gather collects a batch: what already waits, and what comes within gatherDelay
// if at least two came so far (a lone write does not wait).
func (s *Store) gather(first *job) []*job {
	batch := append(make([]*job, 0, 16), first)
	var timer <-chan time.Time
	for len(batch) < maxBatch {
		select {
		case j := <-s.jobs:
			batch = append(batch, j)
			continue
		default:
		}
		if len(batch) == 1 {
			return batch
		}
		if timer == nil {
			timer = time.After(gatherDelay)
		}
		select {
		case j := <-s.jobs:
			batch = append(batch, j)
		case <-timer:
			return batch
		}
	}
	return batch
}

// commit runs a batch in one transaction, or each job in its own if the whole
// fails for a reason that may lie in their company.
func (s *Store) commit(batch []*job) {
	results, err := s.try(batch)
	if err == nil {
		for i, j := range batch {
			j.done <- results[i]
		}
		return
	}
	for _, j := range batch {
		j.done <- s.alone(j)
	}
}

func (s *Store) alone(j *job) error {
	for try := 1; ; try++ {
		results, err := s.try([]*job{j})
		if err == nil {
			err = results[0]
		}
		if err == nil || !retryable(err) || try == maxTries {
			return err
		}
		time.Sleep(time.Duration(try*try) * 10 * time.Millisecond)
	}
}

// try runs a batch. The error is of the transaction; results are of each job.
func (s *Store) try(batch []*job) (results []error, err error) {
	ctx := context.Background() // one caller that leaves must not undo the others
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	t := &Tx{s: s, tx: tx}
	if s.writes != nil {
		t.stmts = map[string]*sql.Stmt{}
	}
	results = make([]error, len(batch))
	for i, j := range batch {
		if results[i] = j.ctx.Err(); results[i] != nil {
			continue
		}
		if _, err := t.exec(ctx, "SAVEPOINT job"); err != nil {
			return nil, err
		}
		results[i] = j.run(ctx, t)
		if len(batch) > 1 && retryable(results[i]) {
			return nil, results[i]
		}
		end := "RELEASE SAVEPOINT job"
		if results[i] != nil {
			end = "ROLLBACK TO SAVEPOINT job"
		}
		if _, err := t.exec(ctx, end); err != nil {
			return nil, err
		}
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	t.compile(ctx)
	return results, nil
}

// retryable reports a serialisation failure or deadlock of PostgreSQL.
func retryable(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}

func (t *Tx) exec(ctx context.Context, q string, args ...any) (int64, error) {
	var res sql.Result
	var err error
	if st := t.stmt(ctx, q); st != nil {
		res, err = st.ExecContext(ctx, args...)
	} else {
		res, err = t.tx.ExecContext(ctx, t.s.rebind(q), args...)
	}
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (t *Tx) query(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	if st := t.stmt(ctx, q); st != nil {
		return st.QueryContext(ctx, args...)
	}
	return t.tx.QueryContext(ctx, t.s.rebind(q), args...)
}

func (t *Tx) queryRow(ctx context.Context, q string, args ...any) *sql.Row {
	if st := t.stmt(ctx, q); st != nil {
		return st.QueryRowContext(ctx, args...)
	}
	return t.tx.QueryRowContext(ctx, t.s.rebind(q), args...)
}
