// Package audit checks an audit log: that its entries, hashed anew, give the root
// that the server signed, in order and without holes, and that an earlier root is
// still a beginning of it. Hashes and trees are those of RFC 6962 as
// golang.org/x/mod/sumdb/tlog has them.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

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

// Checker takes the leaves of a log one by one and keeps only the hashes of the
// tree's right edge, so that a log of any length is checked in little memory.
type Checker struct {
	n     int64
	edge  []tlog.Hash // roots of the full subtrees, largest first
	sizes []int64
	last  tlog.Tree // what an earlier check saw
}

// NewChecker begins a check. last is the tree that an earlier check ended with,
// the zero Tree for none.
func NewChecker(last tlog.Tree) *Checker { return &Checker{last: last} }

// Size is how many leaves were added.
func (c *Checker) Size() int64 { return c.n }

// Add takes the next leaf.
func (c *Checker) Add(leaf []byte) error {
	var e store.AuditEntry
	if err := json.Unmarshal(leaf, &e); err != nil || e.Seq != c.n {
		return fmt.Errorf("%w: entry %d is missing, out of order or no entry", ErrTampered, c.n)
	}
	h, size := tlog.RecordHash(leaf), int64(1)
	for k := len(c.sizes) - 1; k >= 0 && c.sizes[k] == size; k-- {
		h, size = tlog.NodeHash(c.edge[k], h), size*2
		c.edge, c.sizes = c.edge[:k], c.sizes[:k]
	}
	c.edge, c.sizes = append(c.edge, h), append(c.sizes, size)
	c.n++
	if c.n == c.last.N && c.root() != c.last.Hash {
		return fmt.Errorf("%w: its first %d entries are not those of the last check", ErrTampered, c.n)
	}
	return nil
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
	switch {
	case want.N < c.last.N:
		return fmt.Errorf("%w: it has %d entries, the last check saw %d", ErrTampered, want.N, c.last.N)
	case c.n != want.N:
		return fmt.Errorf("%w: %d entries, the checkpoint says %d", ErrTampered, c.n, want.N)
	case c.root() != want.Hash:
		return fmt.Errorf("%w: the entries give the root %s, the checkpoint says %s", ErrTampered, c.root(), want.Hash)
	}
	return nil
}
