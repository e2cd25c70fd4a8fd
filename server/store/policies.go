package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"weightwarden/internal/policy"
)

// Policy is one version of a named policy. Versions are never changed: going back
// to an older one makes a new one with its content.
type Policy struct {
	Version   int64 // grows over all policies together
	Name      string
	Selector  map[string]string // labels that an agent must have; empty: every agent
	Priority  int64             // of several that select an agent the highest counts
	Rules     policy.Rules
	Note      string
	Deleted   bool
	Created   time.Time
	CreatedBy string
}

// Selects reports whether the policy is meant for an agent with these labels.
func (p *Policy) Selects(labels map[string]string) bool {
	for k, v := range p.Selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return !p.Deleted
}

// PolicySet is every policy in force at one revision.
type PolicySet struct {
	Revision int64
	Policies []Policy
}

// For returns the policy that counts for an agent: of those that select it the one
// of the highest priority, then of the most labels, then the first by name; nil
// for none.
func (s *PolicySet) For(labels map[string]string) *Policy {
	var best *Policy
	for i := range s.Policies {
		p := &s.Policies[i]
		switch {
		case !p.Selects(labels):
		case best == nil, p.Priority > best.Priority:
			best = p
		case p.Priority == best.Priority && len(p.Selector) > len(best.Selector):
			best = p
		}
	}
	return best
}

const policyColumns = "version, name, selector, priority, rules, note, deleted, created, created_by"

func scanPolicy(row interface{ Scan(...any) error }) (Policy, error) {
	var p Policy
	var selector, rules string
	var deleted, created int64
	if err := row.Scan(&p.Version, &p.Name, &selector, &p.Priority, &rules, &p.Note, &deleted, &created, &p.CreatedBy); err != nil {
		return p, err
	}
	p.Deleted, p.Created = deleted != 0, fromMicros(created)
	return p, errors.Join(json.Unmarshal([]byte(selector), &p.Selector), json.Unmarshal([]byte(rules), &p.Rules))
}

// Policies returns the set in force.
func (s *Store) Policies(ctx context.Context) (PolicySet, error) {
	var set PolicySet
	// The revision first: a set that is newer than its number is only sent again.
	var err error
	if set.Revision, err = s.PolicyRevision(ctx); err != nil {
		return set, err
	}
	rows, err := s.query(ctx, "SELECT "+policyColumns+" FROM policy_version WHERE current = 1 AND deleted = 0 ORDER BY name")
	set.Policies, err = collect(rows, err, func(r *sql.Rows) (Policy, error) { return scanPolicy(r) })
	return set, err
}

// PolicyRevision returns how often policies, or labels that choose them, were
// changed.
func (s *Store) PolicyRevision(ctx context.Context) (n int64, err error) {
	err = s.queryRow(ctx, "SELECT n FROM policy_revision WHERE id = 1").Scan(&n)
	return n, err
}

// PolicyVersions lists every version of a policy, newest first; ErrNotFound for none.
func (s *Store) PolicyVersions(ctx context.Context, name string) ([]Policy, error) {
	rows, err := s.query(ctx, "SELECT "+policyColumns+" FROM policy_version WHERE name = ? ORDER BY version DESC", name)
	list, err := collect(rows, err, func(r *sql.Rows) (Policy, error) { return scanPolicy(r) })
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("policy %.100q: %w", name, ErrNotFound)
	}
	return list, err
}

// PutPolicy stores a new version of the policy with p's name and returns it.
func (s *Store) PutPolicy(ctx context.Context, by Actor, p Policy) (Policy, error) {
	err := s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.putPolicy(ctx, by, &p, "policy.put", map[string]any{})
	})
	return p, err
}

// DeletePolicy takes a policy out of force. Its versions stay readable.
func (s *Store) DeletePolicy(ctx context.Context, by Actor, name string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		p, err := scanPolicy(tx.queryRow(ctx, "SELECT "+policyColumns+" FROM policy_version WHERE name = ? AND current = 1 AND deleted = 0", name))
		if err != nil {
			return notFound(err, "policy", name)
		}
		p.Deleted = true
		return tx.putPolicy(ctx, by, &p, "policy.delete", map[string]any{})
	})
}

// RollbackPolicy makes the content of an older version the newest.
func (s *Store) RollbackPolicy(ctx context.Context, by Actor, name string, to int64) (Policy, error) {
	var p Policy
	err := s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		var err error
		p, err = scanPolicy(tx.queryRow(ctx, "SELECT "+policyColumns+" FROM policy_version WHERE name = ? AND version = ? AND deleted = 0", name, to))
		if err != nil {
			return notFound(err, fmt.Sprintf("version %d of policy", to), name)
		}
		return tx.putPolicy(ctx, by, &p, "policy.rollback", map[string]any{"to": to})
	})
	return p, err
}

func (t *Tx) putPolicy(ctx context.Context, by Actor, p *Policy, action string, detail map[string]any) error {
	var err error
	if p.Version, err = t.nextPolicyRevision(ctx); err != nil {
		return err
	}
	if p.Selector == nil {
		p.Selector = map[string]string{}
	}
	p.Created, p.CreatedBy = t.s.now().UTC().Truncate(time.Microsecond), by.ID
	selector, err := json.Marshal(p.Selector)
	rules, err2 := json.Marshal(p.Rules)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if _, err := t.exec(ctx, "UPDATE policy_version SET current = 0 WHERE name = ? AND current = 1", p.Name); err != nil {
		return err
	}
	_, err = t.exec(ctx, "INSERT INTO policy_version ("+policyColumns+", current) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
		p.Version, p.Name, string(selector), p.Priority, string(rules), p.Note, boolInt(p.Deleted), micros(p.Created), p.CreatedBy)
	if err != nil {
		return err
	}
	detail["version"], detail["selector"], detail["priority"], detail["rules"] = p.Version, p.Selector, p.Priority, p.Rules
	return t.Audit(ctx, by, action, p.Name, detail)
}

// nextPolicyRevision also serialises changes on PostgreSQL: the row is locked
// until the commit.
func (t *Tx) nextPolicyRevision(ctx context.Context) (n int64, err error) {
	err = t.queryRow(ctx, "UPDATE policy_revision SET n = n + 1 WHERE id = 1 RETURNING n").Scan(&n)
	return n, err
}

// SetAgentLabels replaces an agent's labels. They choose its policy, so this is a
// new revision of the policies too.
func (s *Store) SetAgentLabels(ctx context.Context, by Actor, id string, labels map[string]string, reason string) error {
	text, err := json.Marshal(labels)
	if err != nil {
		return err
	}
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		var before string
		if err := tx.queryRow(ctx, "SELECT labels FROM agent WHERE id = ?", id).Scan(&before); err != nil {
			return notFound(err, "agent", id)
		}
		if _, err := tx.nextPolicyRevision(ctx); err != nil {
			return err
		}
		if _, err := tx.exec(ctx, "UPDATE agent SET labels = ? WHERE id = ?", string(text), id); err != nil {
			return err
		}
		return tx.Audit(ctx, by, "agent.labels", id, map[string]any{"before": json.RawMessage(before), "labels": labels, "reason": reason})
	})
}

// AgentPolicyFacts returns what decides over an agent's policy: its labels and the
// version that it said it holds.
func (s *Store) AgentPolicyFacts(ctx context.Context, id string) (labels map[string]string, held int64, err error) {
	var text string
	if err := s.queryRow(ctx, "SELECT labels, policy FROM agent WHERE id = ?", id).Scan(&text, &held); err != nil {
		return nil, 0, notFound(err, "agent", id)
	}
	return labels, held, json.Unmarshal([]byte(text), &labels)
}
