package server

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/store"
)

func intParam(r *http.Request, name string) (int64, error) {
	n, err := strconv.ParseInt(r.URL.Query().Get(name), 10, 64)
	if err != nil || n < 0 {
		return 0, refuse(http.StatusBadRequest, "%s %.40q: want a number from 0 on", name, r.URL.Query().Get(name))
	}
	return n, nil
}

// maxAuditPage is more than other lists have: whoever checks the log reads all of it.
const maxAuditPage = 10_000

func (s *Server) auditLeaves(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	limit, err := limitUpTo(r, maxAuditPage)
	if err != nil {
		return err
	}
	from, err := intParam(r, "from")
	if err != nil {
		return err
	}
	part, err := s.store.AuditPart(r.Context(), from, limit)
	if err != nil {
		return err
	}
	out := api.AuditPage{From: from, Leaves: part.Leaves, Hashes: part.Hashes, Cases: []api.AuditCaseEntry{}}
	for _, e := range part.Cases {
		out.Cases = append(out.Cases, api.AuditCaseEntry(e))
	}
	return writeJSON(w, http.StatusOK, out)
}

// checkpoint is size and root hash of the log, signed.
func (s *Server) checkpoint(tree tlog.Tree) ([]byte, error) {
	return note.Sign(&note.Note{Text: string(tlog.FormatTree(tree))}, s.signer)
}

// tellCheckpoint sends a checkpoint to the syslog targets once the log has grown:
// what they keep is out of this server's reach.
func (s *Server) tellCheckpoint(ctx context.Context) error {
	tree, err := s.store.AuditTree(ctx)
	if err != nil {
		return err
	}
	signed, err := s.checkpoint(tree)
	if err != nil {
		return err
	}
	return s.store.SendCheckpoint(ctx, store.Checkpoint{Entries: tree.N, Signed: string(signed)})
}

// auditHead answers with a checkpoint.
func (s *Server) auditHead(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	tree, err := s.store.AuditTree(r.Context())
	if err != nil {
		return err
	}
	signed, err := s.checkpoint(tree)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(signed) // the client may be gone
	return nil
}

// auditEntry answers with one entry and the proof that it is in the log, of now or
// of an earlier size.
func (s *Server) auditEntry(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	ctx := r.Context()
	tree, err := s.store.AuditTree(ctx)
	if err != nil {
		return err
	}
	seq, err := strconv.ParseInt(r.PathValue("seq"), 10, 64)
	if err != nil || seq < 0 || seq >= tree.N {
		return refuse(http.StatusNotFound, "the audit log has the entries 0 to %d", tree.N-1)
	}
	if r.URL.Query().Has("size") {
		size, err := intParam(r, "size")
		if err != nil {
			return err
		}
		if size <= seq || size > tree.N {
			return refuse(http.StatusBadRequest, "size: want %d to %d", seq+1, tree.N)
		}
		if tree, err = s.store.AuditTreeOf(ctx, size); err != nil {
			return err
		}
	}
	out := api.AuditInclusion{Seq: seq, Size: tree.N}
	leaves, err := s.store.AuditLeaves(ctx, seq, 1)
	if err != nil {
		return err
	}
	if len(leaves) == 0 {
		return fmt.Errorf("%w: entry %d is missing", store.ErrAuditDamaged, seq)
	}
	out.Leaf = leaves[0]
	proof, err := s.store.AuditInclusion(ctx, seq, tree.N)
	if err != nil {
		return err
	}
	out.Hashes = hashTexts(proof)
	signed, err := s.checkpoint(tree)
	if err != nil {
		return err
	}
	out.Checkpoint = string(signed)
	return writeJSON(w, http.StatusOK, out)
}

func hashTexts(list []tlog.Hash) []string {
	out := make([]string, len(list))
	for i, h := range list {
		out[i] = base64.StdEncoding.EncodeToString(h[:])
	}
	return out
}

func (s *Server) auditProof(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	old, err := intParam(r, "old")
	if err != nil {
		return err
	}
	size, err := intParam(r, "new")
	if err != nil {
		return err
	}
	tree, err := s.store.AuditTree(r.Context())
	if err != nil {
		return err
	}
	if old < 1 || old > size || size > tree.N {
		return refuse(http.StatusBadRequest, "want 1 <= old <= new <= %d", tree.N)
	}
	proof, err := s.store.AuditProof(r.Context(), old, size)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, api.AuditProof{Old: old, New: size, Hashes: hashTexts(proof)})
}
