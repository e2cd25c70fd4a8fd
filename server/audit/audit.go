// Package audit checks an audit log: that its entries, hashed anew, give the root
// that the server signed, in order and without holes, and that an earlier root is
// still a beginning of it. Hashes and trees are those of RFC 6962 as
// golang.org/x/mod/sumdb/tlog has them.
package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"weightwarden/internal/api"
	"weightwarden/server/store"
)

// ErrTampered is wrapped by every error that says that the log is not what it was.
var ErrTampered = errors.New("the audit log was tampered with")

// OpenHead verifies a signed checkpoint and returns the tree that it names.
func OpenHead(signed []byte, v note.Verifier) (tlog.Tree, error) {
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("audit checkpoint: %w", err)
	}
	return tlog.ParseTree([]byte(n.Text))
}

// CheckInclusion verifies that an answer proves entry seq to be in the log that its
// checkpoint names, and returns that tree.
func CheckInclusion(in *api.AuditInclusion, seq int64, v note.Verifier) (tlog.Tree, error) {
	tree, err := OpenHead([]byte(in.Checkpoint), v)
	if err != nil {
		return tree, err
	}
	var e store.AuditEntry
	if err := json.Unmarshal(in.Leaf, &e); err != nil || e.Seq != seq {
		return tree, fmt.Errorf("%w: the answer is not entry %d", ErrTampered, seq)
	}
	proof := make(tlog.RecordProof, len(in.Hashes))
	for i, text := range in.Hashes {
		if proof[i], err = tlog.ParseHash(text); err != nil {
			return tree, fmt.Errorf("%w: hash %d of the proof is none", ErrTampered, i)
		}
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, seq, tlog.RecordHash(in.Leaf)); err != nil {
		return tree, fmt.Errorf("%w: entry %d: %w", ErrTampered, seq, err)
	}
	return tree, nil
}

// Checker takes the leaves of a log one by one and keeps only the hashes of the
// tree's right edge, so that a log of any length is checked in little memory.
type Checker struct {
	n     int64
	edge  []tlog.Hash // roots of the full subtrees, largest first
	sizes []int64
	made  []tlog.Hash // what the last leaf added to the tree, as the server stores it
	seen  []tlog.Tree // what others saw earlier
}

// NewChecker begins a check. seen are trees that were seen earlier, by an earlier
// check or in checkpoints that were kept elsewhere: the log must begin with each.
func NewChecker(seen ...tlog.Tree) *Checker { return &Checker{seen: seen} }

// Size is how many leaves were added.
func (c *Checker) Size() int64 { return c.n }

// Add takes the next leaf.
func (c *Checker) Add(leaf []byte) error {
	_, err := c.add(leaf)
	return err
}

func (c *Checker) add(leaf []byte) (*store.AuditEntry, error) {
	e := new(store.AuditEntry)
	if err := json.Unmarshal(leaf, e); err != nil || e.Seq != c.n {
		return nil, fmt.Errorf("%w: entry %d is missing, out of order or no entry", ErrTampered, c.n)
	}
	h, size := tlog.RecordHash(leaf), int64(1)
	c.made = append(c.made[:0], h)
	for k := len(c.sizes) - 1; k >= 0 && c.sizes[k] == size; k-- {
		h, size = tlog.NodeHash(c.edge[k], h), size*2
		c.made = append(c.made, h)
		c.edge, c.sizes = c.edge[:k], c.sizes[:k]
	}
	c.edge, c.sizes = append(c.edge, h), append(c.sizes, size)
	c.n++
	for _, t := range c.seen {
		if c.n == t.N && c.root() != t.Hash {
			return nil, fmt.Errorf("%w: its first %d entries are not those that were seen earlier", ErrTampered, c.n)
		}
	}
	return e, nil
}

// AddPart takes the next leaves with what the database keeps beside them: the
// hashes of the tree, from which proofs are made, and which entries the evidence of
// a case has. Leaves past the end-th are left out.
func (c *Checker) AddPart(p *store.AuditPart, end int64) error {
	hashes, inCases := p.Hashes, p.Cases
	for _, leaf := range p.Leaves {
		if c.n == end {
			return nil // written meanwhile
		}
		e, err := c.add(leaf)
		if err != nil {
			return err
		}
		for _, h := range c.made {
			if len(hashes) == 0 || !bytes.Equal(hashes[0], h[:]) {
				return fmt.Errorf("%w: a stored hash of entry %d is not that of its content", ErrTampered, e.Seq)
			}
			hashes = hashes[1:]
		}
		if store.OfCase(e.Action) {
			if len(inCases) == 0 || inCases[0] != (store.CaseEntry{Case: e.Object, Seq: e.Seq}) {
				return fmt.Errorf("%w: entry %d is missing from the evidence of case %.100q", ErrTampered, e.Seq, e.Object)
			}
			inCases = inCases[1:]
		}
	}
	if len(hashes)+len(inCases) > 0 {
		return fmt.Errorf("%w: before entry %d more is stored than its entries say", ErrTampered, c.n)
	}
	return nil
}

// Source is where a log is read.
type Source interface {
	AuditPart(ctx context.Context, seq int64, limit int) (*store.AuditPart, error)
}

// partSize is how many entries are read at a time.
const partSize = 5000

// Verify reads a whole log and finds any change, deletion or reordering against
// the tree that the server signed and those that were seen earlier. It returns how
// many entries were right.
func Verify(ctx context.Context, from Source, signed tlog.Tree, seen ...tlog.Tree) (int64, error) {
	c := NewChecker(seen...)
	for c.n < signed.N {
		p, err := from.AuditPart(ctx, c.n, partSize)
		if err != nil {
			return c.n, err
		}
		if len(p.Leaves) == 0 {
			break // Finish says it
		}
		if err := c.AddPart(p, signed.N); err != nil {
			return c.n, err
		}
	}
	return c.n, c.Finish(signed)
}

func (c *Checker) root() tlog.Hash {
	if c.n == 0 {
		h, err := tlog.TreeHash(0, nil)
		if err != nil {
			return tlog.Hash{}
		}
		return h
	}
	h := c.edge[len(c.edge)-1]
	for k := len(c.edge) - 2; k >= 0; k-- {
		h = tlog.NodeHash(c.edge[k], h)
	}
	return h
}

// Finish compares with the tree that the server signed.
func (c *Checker) Finish(want tlog.Tree) error {
	for _, t := range c.seen {
		if want.N < t.N {
			return fmt.Errorf("%w: it has %d entries, %d were seen earlier", ErrTampered, want.N, t.N)
		}
	}
	switch {
	case c.n != want.N:
		return fmt.Errorf("%w: %d entries, the checkpoint says %d", ErrTampered, c.n, want.N)
	case c.root() != want.Hash:
		return fmt.Errorf("%w: the entries give the root %s, the checkpoint says %s", ErrTampered, c.root(), want.Hash)
	}
	return nil
}
