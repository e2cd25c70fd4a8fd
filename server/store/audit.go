package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Actor is who does something.
type Actor struct {
	Kind   string `json:"kind"` // "token", "user", "agent", "server"
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Remote string `json:"remote,omitempty"` // address
}

// ServerActor is the server itself.
func ServerActor() Actor { return Actor{Kind: "server", ID: "server"} }

// AuditEntry is one leaf of the audit log. Its JSON form is hashed into the
// Merkle tree (RFC 6962 hashes, as golang.org/x/mod/sumdb/tlog has them).
type AuditEntry struct {
	Seq    int64          `json:"seq"`
	Time   time.Time      `json:"time"`
	Actor  Actor          `json:"actor"`
	Action string         `json:"action"` // "model.add", "token.revoke", "case.read", ...
	Object string         `json:"object"`
	Detail map[string]any `json:"detail,omitempty"`
}

// ErrAuditDamaged is wrapped by errors that say that the log's own structure is not
// whole: somebody changed the database past the server.
var ErrAuditDamaged = errors.New("the audit log is damaged")

// Audit appends an entry in the transaction of the change that it tells of.
func (t *Tx) Audit(ctx context.Context, by Actor, action, object string, detail map[string]any) error {
	if t.s.postgres {
		// One appender at a time over all servers, until the commit.
		if _, err := t.exec(ctx, "SELECT pg_advisory_xact_lock(7305001)"); err != nil {
			return err
		}
	}
	var seq int64
	if err := t.queryRow(ctx, "SELECT COALESCE(MAX(seq)+1, 0) FROM audit").Scan(&seq); err != nil {
		return err
	}
	leaf, err := json.Marshal(AuditEntry{Seq: seq, Time: t.s.now().UTC().Truncate(time.Microsecond), Actor: by, Action: action, Object: object, Detail: detail})
	if err != nil {
		return fmt.Errorf("audit entry: %w", err)
	}
	if _, err := t.exec(ctx, "INSERT INTO audit (seq, leaf) VALUES (?, ?)", seq, leaf); err != nil {
		return err
	}
	hashes, err := tlog.StoredHashesForRecordHash(seq, tlog.RecordHash(leaf), hashReader(ctx, t))
	if err != nil {
		return fmt.Errorf("audit tree: %w", err)
	}
	if OfCase(action) {
		if _, err := t.exec(ctx, "INSERT INTO case_audit (case_id, seq) VALUES (?, ?)", object, seq); err != nil {
			return err
		}
	}
	first := tlog.StoredHashIndex(0, seq)
	for i, h := range hashes {
		if _, err := t.exec(ctx, "INSERT INTO audit_hash (id, hash) VALUES (?, ?)", first+int64(i), h[:]); err != nil {
			return err
		}
	}
	return nil
}

// OfCase reports whether entries of an action belong to the case that is their
// object: they are what the case's sealed evidence proves.
func OfCase(action string) bool { return strings.HasPrefix(action, "case.") }

func hashReader(ctx context.Context, q querier) tlog.HashReader {
	return tlog.HashReaderFunc(func(ids []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(ids))
		for i, id := range ids {
			var b []byte
			err := q.queryRow(ctx, "SELECT hash FROM audit_hash WHERE id = ?", id).Scan(&b)
			if errors.Is(err, sql.ErrNoRows) {
				return nil, fmt.Errorf("%w: hash %d of its tree is missing", ErrAuditDamaged, id)
			}
			if err != nil {
				return nil, fmt.Errorf("hash %d: %w", id, err)
			}
			if len(b) != tlog.HashSize {
				return nil, fmt.Errorf("%w: hash %d of its tree has %d bytes", ErrAuditDamaged, id, len(b))
			}
			out[i] = tlog.Hash(b)
		}
		return out, nil
	})
}

// AuditSize returns how many entries the audit log has.
func (s *Store) AuditSize(ctx context.Context) (n int64, err error) {
	err = s.queryRow(ctx, "SELECT COALESCE(MAX(seq)+1, 0) FROM audit").Scan(&n)
	return n, err
}

// AuditTree returns the size and the root hash of the audit log. ErrAuditDamaged:
// the stored tree is not that of so many entries.
func (s *Store) AuditTree(ctx context.Context) (tlog.Tree, error) {
	var n, hashes int64
	err := s.queryRow(ctx, "SELECT COALESCE(MAX(seq)+1, 0), (SELECT COALESCE(MAX(id)+1, 0) FROM audit_hash) FROM audit").Scan(&n, &hashes)
	if err != nil {
		return tlog.Tree{}, err
	}
	if n < 0 || n > hashes || hashes != tlog.StoredHashCount(n) {
		return tlog.Tree{}, fmt.Errorf("%w: its last entry is %d, and its tree ends at hash %d", ErrAuditDamaged, n-1, hashes-1)
	}
	return s.AuditTreeOf(ctx, n)
}

// AuditTreeOf returns the tree of the log's first n entries.
func (s *Store) AuditTreeOf(ctx context.Context, n int64) (tlog.Tree, error) {
	h, err := tlog.TreeHash(n, hashReader(ctx, s))
	if err != nil {
		return tlog.Tree{}, err
	}
	return tlog.Tree{N: n, Hash: h}, nil
}

// AuditLeaves returns up to limit leaves from seq on, as they were hashed.
func (s *Store) AuditLeaves(ctx context.Context, seq int64, limit int) ([][]byte, error) {
	rows, err := s.query(ctx, "SELECT leaf FROM audit WHERE seq >= ? ORDER BY seq LIMIT ?", seq, limit)
	return collect(rows, err, scanBytes)
}

// AuditPart is a part of the log with everything that the database keeps of it.
type AuditPart struct {
	Leaves [][]byte    // as they were hashed
	Hashes [][]byte    // of the Merkle tree: what these leaves added, in the order of tlog.StoredHashIndex
	Cases  []CaseEntry // which of the leaves the evidence of a case has
}

// CaseEntry says that an entry of the audit log tells of a case.
type CaseEntry struct {
	Case string
	Seq  int64
}

// maxPartBytes is where a part of the log ends before its limit.
const maxPartBytes = 8 << 20

// AuditPart returns up to limit entries from seq on, fewer where they are large.
func (s *Store) AuditPart(ctx context.Context, seq int64, limit int) (*AuditPart, error) {
	p := &AuditPart{Leaves: [][]byte{}, Hashes: [][]byte{}, Cases: []CaseEntry{}}
	rows, err := s.query(ctx, "SELECT leaf FROM audit WHERE seq >= ? ORDER BY seq LIMIT ?", seq, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for size := 0; size < maxPartBytes && rows.Next(); {
		b, err := scanBytes(rows)
		if err != nil {
			return nil, err
		}
		p.Leaves, size = append(p.Leaves, b), size+len(b)
	}
	if err := rows.Err(); err != nil || len(p.Leaves) == 0 {
		return p, err
	}
	end := seq + int64(len(p.Leaves))
	rows, err = s.query(ctx, "SELECT hash FROM audit_hash WHERE id >= ? AND id < ? ORDER BY id", tlog.StoredHashIndex(0, seq), tlog.StoredHashIndex(0, end))
	if p.Hashes, err = collect(rows, err, scanBytes); err != nil {
		return nil, err
	}
	rows, err = s.query(ctx, "SELECT case_id, seq FROM case_audit WHERE seq >= ? AND seq < ? ORDER BY seq", seq, end)
	p.Cases, err = collect(rows, err, func(r *sql.Rows) (CaseEntry, error) {
		var e CaseEntry
		err := r.Scan(&e.Case, &e.Seq)
		return e, err
	})
	return p, err
}

// AuditProof proves that the tree of size old is a prefix of the one of size now.
func (s *Store) AuditProof(ctx context.Context, old, now int64) (tlog.TreeProof, error) {
	return tlog.ProveTree(now, old, hashReader(ctx, s))
}

// AuditInclusion proves that leaf seq is in the tree of size now.
func (s *Store) AuditInclusion(ctx context.Context, seq, now int64) (tlog.RecordProof, error) {
	return tlog.ProveRecord(now, seq, hashReader(ctx, s))
}

// CaseProof is an entry of the audit log with the proof that it is in a tree.
type CaseProof struct {
	Seq   int64
	Leaf  []byte
	Proof tlog.RecordProof
}

// CaseProofs returns the entries of a case that are in the tree of size n, each
// with its proof.
func (s *Store) CaseProofs(ctx context.Context, id string, n int64) ([]CaseProof, error) {
	rows, err := s.query(ctx, "SELECT a.seq, a.leaf FROM case_audit c JOIN audit a ON a.seq = c.seq WHERE c.case_id = ? AND c.seq < ? ORDER BY c.seq LIMIT 10000", id, n)
	list, err := collect(rows, err, func(r *sql.Rows) (CaseProof, error) {
		var p CaseProof
		err := r.Scan(&p.Seq, &p.Leaf)
		return p, err
	})
	for i := range list {
		if err != nil {
			break
		}
		list[i].Proof, err = s.AuditInclusion(ctx, list[i].Seq, n)
	}
	return list, err
}
