package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"weightwarden/internal/api"
)

// States of an agent.
const (
	AgentActive  = "active"
	AgentRevoked = "revoked"
	AgentCloned  = "cloned" // its identity was seen on two machines: must enrol anew
)

// Agent is an enrolled machine.
type Agent struct {
	ID          string
	Host        string
	OS          string
	Arch        string
	MachineID   string
	Labels      map[string]string
	State       string
	StateReason string
	Version     string
	Enrolled    time.Time
	CertSerial  string
	CertExpires time.Time
	Seen        time.Time
	Snapshot    int64
	Policy      int64
	Pending     int64
	Lost        int64
	Gaps        int64 // open ones
	Problems    int64 // health conditions
	Heartbeat   *api.Heartbeat
}

// Enrol uses up one use of an enrolment token and stores a new agent. A
// token that is unknown, used up, revoked or expired gives ErrNotFound.
func (s *Store) Enrol(ctx context.Context, secret []byte, a Agent, remote string) (Agent, error) {
	a.State, a.Enrolled, a.Seen = AgentActive, s.now().UTC(), s.now().UTC()
	err := s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		var tokenID, labels string
		now := micros(s.now())
		err := tx.queryRow(ctx, "UPDATE enrol_token SET uses_left = uses_left - 1 WHERE hash = ? AND uses_left > 0 AND revoked = 0 AND expires > ? RETURNING id, labels",
			HashSecret(secret), now).Scan(&tokenID, &labels)
		if err != nil {
			return notFound(err, "enrolment token", "")
		}
		if err := json.Unmarshal([]byte(labels), &a.Labels); err != nil {
			return err
		}
		_, err = tx.exec(ctx, `INSERT INTO agent (id, host, os, arch, machine_id, labels, state, version, enrolled, cert_serial, cert_expires, seen)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, a.ID, a.Host, a.OS, a.Arch, a.MachineID, labels, a.State, a.Version,
			micros(a.Enrolled), a.CertSerial, micros(a.CertExpires), micros(a.Seen))
		if err != nil {
			return err
		}
		return tx.Audit(ctx, Actor{Kind: "agent", ID: a.ID, Name: a.Host, Remote: remote}, "agent.enrol", a.ID, map[string]any{"token": tokenID, "host": a.Host})
	})
	return a, err
}

// RenewAgent records a new certificate of an active agent.
func (s *Store) RenewAgent(ctx context.Context, id, serial string, expires time.Time) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, "UPDATE agent SET cert_serial = ?, cert_expires = ? WHERE id = ? AND state = ?", serial, micros(expires), id, AgentActive)
		if err == nil && n == 0 {
			err = fmt.Errorf("active agent %.100q: %w", id, ErrNotFound)
		}
		if err != nil {
			return err
		}
		return tx.Audit(ctx, Actor{Kind: "agent", ID: id}, "agent.renew", id, nil)
	})
}

// SetAgentState revokes an agent, or makes it active again. It takes effect with
// the agent's next request.
func (s *Store) SetAgentState(ctx context.Context, by Actor, id, state, reason string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.setAgentState(ctx, by, id, state, reason)
	})
}

func (t *Tx) setAgentState(ctx context.Context, by Actor, id, state, reason string) error {
	n, err := t.exec(ctx, "UPDATE agent SET state = ?, state_reason = ? WHERE id = ?", state, reason, id)
	if err == nil && n == 0 {
		err = fmt.Errorf("agent %.100q: %w", id, ErrNotFound)
	}
	if err != nil {
		return err
	}
	return t.Audit(ctx, by, "agent."+state, id, map[string]any{"reason": reason})
}

// ErrCloned is returned for a heartbeat that shows the identity on two machines.
var ErrCloned = fmt.Errorf("agent identity is in use on two machines: %w", ErrConflict)

// Heartbeat records an agent's account of itself. It finds clones: another
// machine id, or two boots that take turns.
func (s *Store) Heartbeat(ctx context.Context, id string, hb *api.Heartbeat) error {
	body, err := json.Marshal(hb)
	if err != nil {
		return err
	}
	cloned := false
	why, refuses := refusal(hb)
	err = s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		var machine, boot, before string
		var refused int64
		err := tx.queryRow(ctx, "SELECT machine_id, boot_id, boot_before, refuses FROM agent WHERE id = ? AND state = ?", id, AgentActive).Scan(&machine, &boot, &before, &refused)
		if err != nil {
			return notFound(err, "active agent", id)
		}
		if cloned = isClone(machine, boot, before, hb.Host); cloned {
			return tx.setAgentState(ctx, ServerActor(), id, AgentCloned, "heartbeats come from two machines")
		}
		if hb.Host.BootID != boot && hb.Host.BootID != "" {
			boot, before = hb.Host.BootID, boot
		}
		_, err = tx.exec(ctx, `UPDATE agent SET host = ?, version = ?, machine_id = ?, boot_id = ?, boot_before = ?, seen = ?, snapshot = ?, policy = ?,
			pending = ?, lost = ?, gaps = ?, problems = ?, refuses = ?, heartbeat = ? WHERE id = ?`, hb.Host.Name, hb.Version, orElse(machine, hb.Host.Machine), boot, before,
			micros(s.now()), hb.Snapshot, hb.Policy, hb.Spool.Pending, int64(hb.Spool.Lost), openGaps(hb), len(hb.Health), boolInt(refuses), body, id)
		if err == nil && refuses && refused == 0 {
			err = tx.tellRefusal(ctx, id, hb.Host.Name, why)
		}
		return err
	})
	if err == nil && cloned {
		return ErrCloned
	}
	return err
}

func isClone(machine, boot, before string, h api.Host) bool {
	if machine != "" && h.Machine != "" && machine != h.Machine {
		return true
	}
	return h.BootID != "" && h.BootID != boot && h.BootID == before
}

func openGaps(hb *api.Heartbeat) int {
	n := 0
	for _, g := range hb.Gaps {
		if g.Closed == nil {
			n++
		}
	}
	return n
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

const agentColumns = `id, host, os, arch, machine_id, labels, state, state_reason, version, enrolled, cert_serial, cert_expires, seen,
	snapshot, policy, pending, lost, gaps, problems, heartbeat`

func scanAgent(row interface{ Scan(...any) error }) (Agent, error) {
	var a Agent
	var labels string
	var enrolled, certExpires, seen int64
	var heartbeat []byte
	err := row.Scan(&a.ID, &a.Host, &a.OS, &a.Arch, &a.MachineID, &labels, &a.State, &a.StateReason, &a.Version, &enrolled, &a.CertSerial, &certExpires, &seen,
		&a.Snapshot, &a.Policy, &a.Pending, &a.Lost, &a.Gaps, &a.Problems, &heartbeat)
	if err != nil {
		return a, err
	}
	a.Enrolled, a.CertExpires, a.Seen = fromMicros(enrolled), fromMicros(certExpires), fromMicros(seen)
	if heartbeat != nil {
		a.Heartbeat = new(api.Heartbeat)
		err = json.Unmarshal(heartbeat, a.Heartbeat)
	}
	return a, errors.Join(err, json.Unmarshal([]byte(labels), &a.Labels))
}

// Agent returns one agent.
func (s *Store) Agent(ctx context.Context, id string) (Agent, error) {
	a, err := scanAgent(s.queryRow(ctx, "SELECT "+agentColumns+" FROM agent WHERE id = ?", id))
	return a, notFound(err, "agent", id)
}

// AgentState returns an agent's state, host and the serial of its newest certificate.
func (s *Store) AgentState(ctx context.Context, id string) (state, host, serial string, err error) {
	err = s.queryRow(ctx, "SELECT state, host, cert_serial FROM agent WHERE id = ?", id).Scan(&state, &host, &serial)
	return state, host, serial, notFound(err, "agent", id)
}

// Agents lists agents by id after a given one ("" from the start).
func (s *Store) Agents(ctx context.Context, after string, limit int) ([]Agent, error) {
	rows, err := s.query(ctx, "SELECT "+agentColumns+" FROM agent WHERE id > ? ORDER BY id LIMIT ?", after, limit)
	return collect(rows, err, func(r *sql.Rows) (Agent, error) { return scanAgent(r) })
}

// FleetSummary counts agents and what they report.
type FleetSummary struct {
	Active, Silent, Revoked, Cloned int64
	Pending, Lost, Gaps, Problems   int64 // of active agents
	Refusing                        int64 // active agents that refuse the registry they are offered
}

// SilentAfter is how long an active agent may say nothing before it counts as
// silent. Heartbeats come each minute.
const SilentAfter = 10 * time.Minute

// Fleet sums up all agents.
func (s *Store) Fleet(ctx context.Context) (FleetSummary, error) {
	var f FleetSummary
	rows, err := s.query(ctx, `SELECT state, CASE WHEN seen < ? THEN 1 ELSE 0 END, COUNT(*), SUM(pending), SUM(lost), SUM(gaps), SUM(problems), SUM(refuses)
		FROM agent GROUP BY 1, 2`, micros(s.now().Add(-SilentAfter)))
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var state string
		var silent int
		var n, pending, lost, gaps, problems, refusing int64
		err := r.Scan(&state, &silent, &n, &pending, &lost, &gaps, &problems, &refusing)
		switch {
		case state == AgentRevoked:
			f.Revoked += n
			return struct{}{}, err
		case state == AgentCloned:
			f.Cloned += n
			return struct{}{}, err
		case silent == 1:
			f.Silent += n
		default:
			f.Active += n
		}
		f.Pending, f.Lost, f.Gaps, f.Problems = f.Pending+pending, f.Lost+lost, f.Gaps+gaps, f.Problems+problems
		f.Refusing += refusing
		return struct{}{}, err
	})
	return f, err
}
