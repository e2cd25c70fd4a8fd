package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"weightwarden/internal/api"
)

// EventRegistryRefused says that an agent refuses the registry that it is offered:
// somebody rolls the fleet back, freezes it on old data, or forges a registry.
const EventRegistryRefused = "agent.registry_refused"

// refusalQuiet is how long targets are told of no further agent that refuses: an
// attack on the way to the server makes thousands refuse within a minute. The metric
// and the list of agents have all.
const refusalQuiet = time.Hour

// refusal is what a heartbeat says of a refused registry.
func refusal(hb *api.Heartbeat) (text string, refuses bool) {
	i := slices.IndexFunc(hb.Health, func(h api.Health) bool { return h.Code == api.HealthRegistryRefused })
	if i < 0 {
		return "", false
	}
	return hb.Health[i].Text, true
}

// tellRefusal puts a message of an agent that began to refuse into the outbox of
// every target of alerts, unless one was told of another lately.
func (t *Tx) tellRefusal(ctx context.Context, agent, host, text string) error {
	now := t.s.now()
	n, err := t.exec(ctx, `INSERT INTO meta (key, value) VALUES ('registry_refused_told', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value
		WHERE meta.value < ?`, stampBytes(now), stampBytes(now.Add(-refusalQuiet)))
	if err != nil || n == 0 {
		return err
	}
	body, err := json.Marshal(Notice{Agent: agent, Ref: cut(host, 255), Severity: SeverityCritical,
		Text: fmt.Sprintf("The agent on %s refuses the registry it is offered and goes on with the last good one: %s", cut(host, 255), cut(text, 500))})
	if err != nil {
		return err
	}
	rows, err := t.query(ctx, "SELECT id FROM target WHERE recipients = ''")
	ids, err := collect(rows, err, func(r *sql.Rows) (string, error) {
		var id string
		err := r.Scan(&id)
		return id, err
	})
	for _, id := range ids {
		if err != nil {
			break
		}
		_, err = t.exec(ctx, "INSERT INTO outbox (id, target, event, alert, created, due, notice) VALUES (?, ?, ?, '', ?, ?, ?)", NewID(), id, EventRegistryRefused, micros(now), micros(now), body)
	}
	return err
}

// stampBytes is a time whose bytes sort as times do.
func stampBytes(at time.Time) []byte { return fmt.Appendf(nil, "%020d", micros(at)) }
