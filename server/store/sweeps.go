package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"weightwarden/internal/api"
)

// gapOrdered is the cause of the gaps that an agent opens for an ordered sweep;
// it closes them when it has looked at every file.
const gapOrdered = "ordered"

// Sweep is an order to look at what is already there, with how far it came.
type Sweep struct {
	api.Sweep
	Created   time.Time
	CreatedBy string
	Ends      time.Time // agents that were not heard until then were not reached
	Agents    int64     // active ones now
	Asked     int64     // took the order
	Done      int64     // looked at everything they watch there
	Files     int64     // that the done ones looked at
}

// AddSweep orders a sweep of all agents that are heard before ends.
func (s *Store) AddSweep(ctx context.Context, by Actor, model string, paths []string, ends time.Time) (string, error) {
	id := NewID()
	list, err := json.Marshal(paths)
	if err != nil {
		return "", err
	}
	return id, s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "INSERT INTO sweep (id, model, paths, created, created_by, ends) VALUES (?, ?, ?, ?, ?, ?)",
			id, model, string(list), micros(s.now()), by.ID, micros(ends))
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "sweep.add", id, map[string]any{"model": model, "paths": paths})
	})
}

const sweepColumns = `s.id, s.model, s.paths, s.created, s.created_by, s.ends, (SELECT COUNT(*) FROM agent WHERE state = 'active'),
	(SELECT COUNT(*) FROM sweep_agent x WHERE x.sweep = s.id), (SELECT COUNT(*) FROM sweep_agent x WHERE x.sweep = s.id AND x.done > 0),
	(SELECT COALESCE(SUM(files), 0) FROM sweep_agent x WHERE x.sweep = s.id)`

func scanSweep(row interface{ Scan(...any) error }) (Sweep, error) {
	var w Sweep
	var paths string
	var created, ends int64
	err := row.Scan(&w.ID, &w.Model, &paths, &created, &w.CreatedBy, &ends, &w.Agents, &w.Asked, &w.Done, &w.Files)
	w.Created, w.Ends = fromMicros(created), fromMicros(ends)
	if err == nil {
		err = json.Unmarshal([]byte(paths), &w.Paths)
	}
	return w, err
}

// Sweeps lists sweeps, newest first.
func (s *Store) Sweeps(ctx context.Context, limit int) ([]Sweep, error) {
	rows, err := s.query(ctx, "SELECT "+sweepColumns+" FROM sweep s ORDER BY s.id DESC LIMIT ?", limit)
	return collect(rows, err, func(r *sql.Rows) (Sweep, error) { return scanSweep(r) })
}

// Sweep returns one sweep.
func (s *Store) Sweep(ctx context.Context, id string) (Sweep, error) {
	w, err := scanSweep(s.queryRow(ctx, "SELECT "+sweepColumns+" FROM sweep s WHERE s.id = ?", id))
	return w, notFound(err, "sweep", id)
}

// orders returns the sweeps that run now and an agent's part in each.
func (s *Store) orders(ctx context.Context, agent string) ([]Sweep, map[string][2]int64, error) {
	part := map[string][2]int64{} // asked, done
	rows, err := s.query(ctx, `SELECT s.id, s.model, s.paths, COALESCE(x.asked, 0), COALESCE(x.done, 0) FROM sweep s
		LEFT JOIN sweep_agent x ON x.sweep = s.id AND x.agent = ? WHERE s.ends > ?`, agent, micros(s.now()))
	list, err := collect(rows, err, func(r *sql.Rows) (Sweep, error) {
		var w Sweep
		var paths string
		var asked, done int64
		err := r.Scan(&w.ID, &w.Model, &paths, &asked, &done)
		part[w.ID] = [2]int64{asked, done}
		if err == nil {
			err = json.Unmarshal([]byte(paths), &w.Paths)
		}
		return w, err
	})
	return list, part, err
}

// OrderSweeps returns the sweeps that an agent shall begin, and notes those that
// its heartbeat shows as done: asked before, and no ordered gap is open any more.
// An order is given with each heartbeat until it is done, since answers get lost;
// agents begin each once.
func (s *Store) OrderSweeps(ctx context.Context, agent string, hb *api.Heartbeat) ([]api.Sweep, error) {
	list, part, err := s.orders(ctx, agent)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	open, files := false, int64(0)
	for _, g := range hb.Gaps {
		if g.Cause == gapOrdered {
			open = open || g.Closed == nil
			files += max(g.Files, 0)
		}
	}
	var out []api.Sweep
	var asked, done []string
	for _, w := range list {
		switch p := part[w.ID]; {
		case p[1] > 0:
		case p[0] > 0 && !open && hb.SentAt.UnixMicro() > p[0]:
			done = append(done, w.ID)
		default:
			out = append(out, w.Sweep)
			asked = append(asked, w.ID)
		}
	}
	if len(asked)+len(done) == 0 {
		return nil, nil
	}
	now := micros(s.now())
	return out, s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		for _, id := range asked {
			if _, err := tx.exec(ctx, "INSERT INTO sweep_agent (sweep, agent, asked) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", id, agent, now); err != nil {
				return err
			}
		}
		for _, id := range done {
			if _, err := tx.exec(ctx, "UPDATE sweep_agent SET done = ?, files = ? WHERE sweep = ? AND agent = ?", now, files, id, agent); err != nil {
				return err
			}
		}
		return nil
	})
}
