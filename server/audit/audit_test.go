package audit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"weightwarden/server/store"
)

// written makes a log by the store's own hand and returns its leaves and tree.
func written(t *testing.T, n int) ([][]byte, tlog.Tree) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "a.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for i := range n {
			if err := tx.Audit(ctx, store.ServerActor(), "test", fmt.Sprint(i), map[string]any{"i": i}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := s.AuditTree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := s.AuditLeaves(t.Context(), 0, n+1)
	if err != nil || len(leaves) != n {
		t.Fatal(len(leaves), err)
	}
	return leaves, tree
}

func check(leaves [][]byte, last, head tlog.Tree) error {
	c := NewChecker(last)
	for _, l := range leaves {
		if err := c.Add(l); err != nil {
			return err
		}
	}
	return c.Finish(head)
}

func TestTheStoresLogVerifies(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 7, 64, 100} {
		leaves, tree := written(t, n)
		if err := check(leaves, tlog.Tree{}, tree); err != nil {
			t.Errorf("%d entries: %v", n, err)
		}
	}
}

// Any changed byte, any missing and any swapped entry is found.
func TestAnyChangeIsFound(t *testing.T) {
	leaves, tree := written(t, 21)
	copyOf := func() [][]byte {
		out := make([][]byte, len(leaves))
		for i := range leaves {
			out[i] = append([]byte(nil), leaves[i]...)
		}
		return out
	}
	for i := range leaves {
		for j := range leaves[i] {
			bad := copyOf()
			bad[i][j] ^= 1
			if err := check(bad, tlog.Tree{}, tree); !errors.Is(err, ErrTampered) {
				t.Fatalf("byte %d of entry %d: %v", j, i, err)
			}
		}
		bad := copyOf()
		if err := check(append(bad[:i], bad[i+1:]...), tlog.Tree{}, tree); !errors.Is(err, ErrTampered) {
			t.Errorf("entry %d removed: %v", i, err)
		}
		bad = copyOf()
		bad[i], bad[(i+1)%len(bad)] = bad[(i+1)%len(bad)], bad[i]
		if err := check(bad, tlog.Tree{}, tree); !errors.Is(err, ErrTampered) {
			t.Errorf("entry %d swapped: %v", i, err)
		}
	}
}

// A server that rewrites its past and signs the new tree is found by who saw the
// old one.
func TestRewrittenPastIsFound(t *testing.T) {
	leaves, tree := written(t, 10)
	other, forged := written(t, 10) // other times: other leaves
	if err := check(other, tree, forged); !errors.Is(err, ErrTampered) {
		t.Errorf("rewritten: %v", err)
	}
	shorter, small := written(t, 5)
	if err := check(shorter, tree, small); !errors.Is(err, ErrTampered) {
		t.Errorf("shortened: %v", err)
	}
	if err := check(leaves, tree, tree); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

func BenchmarkChecker(b *testing.B) {
	c := NewChecker(tlog.Tree{})
	pad := fmt.Sprintf("%x", sha256.Sum256(nil))
	for i := range b.N {
		leaf := fmt.Appendf(nil, `{"seq":%d,"time":"2026-01-01T00:00:00Z","actor":{"kind":"token","id":"%s"},"action":"model.add","object":"x"}`, i, pad)
		if err := c.Add(leaf); err != nil {
			b.Fatal(err)
		}
	}
}
