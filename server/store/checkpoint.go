package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
)

// EventCheckpoint carries a checkpoint of the audit log.
const EventCheckpoint = "audit.checkpoint"

// Checkpoint is size and root of the audit log, signed.
type Checkpoint struct {
	Entries int64  `json:"entries"`
	Signed  string `json:"checkpoint"` // signed note
}

// SendCheckpoint puts a checkpoint into the outbox of every syslog target, in place
// of older ones: the log that it names begins with theirs. One that is not of a
// longer log than the last is not sent, so that several servers send each once.
func (s *Store) SendCheckpoint(ctx context.Context, c Checkpoint) error {
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		rows, err := tx.query(ctx, "SELECT id FROM target WHERE kind = 'syslog'")
		ids, err := collect(rows, err, func(r *sql.Rows) (string, error) {
			var id string
			err := r.Scan(&id)
			return id, err
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		n, err := tx.exec(ctx, `INSERT INTO meta (key, value) VALUES ('audit_checkpoint_sent', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value
			WHERE meta.value < excluded.value`, fmt.Appendf(nil, "%020d", c.Entries))
		if err != nil || n == 0 {
			return err
		}
		if _, err := tx.exec(ctx, "DELETE FROM outbox WHERE event = ?", EventCheckpoint); err != nil {
			return err
		}
		now := micros(s.now())
		for _, id := range ids {
			if _, err := tx.exec(ctx, "INSERT INTO outbox (id, target, event, alert, created, due, notice) VALUES (?, ?, ?, '', ?, ?, ?)", NewID(), id, EventCheckpoint, now, now, body); err != nil {
				return err
			}
		}
		return nil
	})
}
