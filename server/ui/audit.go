package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"weightwarden/server/audit"
	"weightwarden/server/store"
)

type auditPage struct {
	Tree    tlog.Tree
	Entries []auditRow
	Older   int64 // sequence number that the next page ends before; 0: no more
	Check   *auditCheck
}

type auditRow struct {
	store.AuditEntry
	Text string // details as JSON
}

// auditCheck is the outcome of a check of the whole log.
type auditCheck struct {
	Entries int64
	Problem string
}

// audit lists the log, newest first.
func (c *Console) audit(v *visit) error { return c.showAudit(v, nil) }

func (c *Console) showAudit(v *visit, check *auditCheck) error {
	ctx := v.r.Context()
	tree, err := c.store.AuditTree(ctx)
	if err != nil {
		return err
	}
	end := tree.N
	if text := v.r.URL.Query().Get("before"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return inputError("before: not an address of this console")
		}
		end = min(n, tree.N)
	}
	from := max(0, end-pageSize)
	leaves, err := c.store.AuditLeaves(ctx, from, int(end-from))
	if err != nil {
		return err
	}
	p := auditPage{Tree: tree, Older: from, Check: check}
	for i := len(leaves) - 1; i >= 0; i-- {
		row, err := auditRowOf(leaves[i])
		if err != nil {
			return err
		}
		p.Entries = append(p.Entries, row)
	}
	return c.render(v, http.StatusOK, "audit", "Audit", "audit", p)
}

func auditRowOf(leaf []byte) (auditRow, error) {
	var row auditRow
	if err := json.Unmarshal(leaf, &row.AuditEntry); err != nil {
		return row, fmt.Errorf("audit entry: %w", err)
	}
	if len(row.Detail) > 0 {
		text, err := json.Marshal(row.Detail)
		if err != nil {
			return row, err
		}
		row.Text = string(text)
	}
	return row, nil
}

type auditEntryPage struct {
	auditRow
	Leaf    string // as it was hashed
	Hash    string
	Tree    tlog.Tree
	Proof   []string
	Problem string // "": the proof holds
	N       int64
}

// auditEntry shows one entry and proves that it is in the log: its hash, joined with
// those of the proof, must give the root.
func (c *Console) auditEntry(v *visit) error {
	ctx := v.r.Context()
	seq, err := strconv.ParseInt(v.r.PathValue("seq"), 10, 64)
	if err != nil || seq < 0 {
		return store.ErrNotFound
	}
	tree, err := c.store.AuditTree(ctx)
	if err != nil {
		return err
	}
	leaves, err := c.store.AuditLeaves(ctx, seq, 1)
	if err != nil {
		return err
	}
	if len(leaves) == 0 || seq >= tree.N {
		return store.ErrNotFound
	}
	p := auditEntryPage{Leaf: string(leaves[0]), Tree: tree, N: seq}
	if p.auditRow, err = auditRowOf(leaves[0]); err != nil {
		return err
	}
	hash := tlog.RecordHash(leaves[0])
	p.Hash = hash.String()
	proof, err := c.store.AuditInclusion(ctx, seq, tree.N)
	if err != nil {
		return err
	}
	for _, h := range proof {
		p.Proof = append(p.Proof, h.String())
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, seq, hash); err != nil {
		p.Problem = err.Error()
	}
	return c.render(v, http.StatusOK, "auditentry", fmt.Sprintf("Audit entry %d", seq), "audit", p)
}

// checkAudit hashes the whole log anew and compares with the root.
func (c *Console) checkAudit(v *visit) error {
	ctx := v.r.Context()
	tree, err := c.store.AuditTree(ctx)
	if err != nil {
		return err
	}
	check := &auditCheck{}
	if check.Entries, err = audit.Verify(ctx, c.store, tree); err != nil {
		check.Problem = err.Error()
	}
	return c.showAudit(v, check)
}

func (c *Console) auditCSV(v *visit) error {
	head := []string{"entry", "time", "actor kind", "actor", "actor id", "address", "action", "object", "detail", "leaf hash"}
	return c.csv(v, "audit", head, func(row func(...string) error) error {
		for from := int64(0); ; {
			leaves, err := c.store.AuditLeaves(v.r.Context(), from, 1000)
			if err != nil || len(leaves) == 0 {
				return err
			}
			for _, leaf := range leaves {
				e, err := auditRowOf(bytes.Clone(leaf))
				if err != nil {
					return err
				}
				if err := row(plain(e.Seq), csvTime(e.Time), e.Actor.Kind, e.Actor.Name, e.Actor.ID, e.Actor.Remote, e.Action, e.Object, e.Text, tlog.RecordHash(leaf).String()); err != nil {
					return err
				}
			}
			from += int64(len(leaves))
		}
	})
}
