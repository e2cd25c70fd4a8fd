package server

import (
	"encoding/base64"
	"net/http"
	"strconv"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
)

func intParam(r *http.Request, name string) (int64, error) {
	n, err := strconv.ParseInt(r.URL.Query().Get(name), 10, 64)
	if err != nil || n < 0 {
		return 0, refuse(http.StatusBadRequest, "%s %.40q: want a number from 0 on", name, r.URL.Query().Get(name))
	}
	return n, nil
}

func (s *Server) auditLeaves(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	from, err := intParam(r, "from")
	if err != nil {
		return err
	}
	leaves, err := s.store.AuditLeaves(r.Context(), from, limit)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, api.AuditPage{From: from, Leaves: leaves})
}

// auditHead answers with a checkpoint: size and root hash of the log, signed.
func (s *Server) auditHead(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	tree, err := s.store.AuditTree(r.Context())
	if err != nil {
		return err
	}
	signed, err := note.Sign(&note.Note{Text: string(tlog.FormatTree(tree))}, s.signer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(signed) // the client may be gone
	return nil
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
	out := api.AuditProof{Old: old, New: size, Hashes: []string{}}
	for _, h := range proof {
		out.Hashes = append(out.Hashes, base64.StdEncoding.EncodeToString(h[:]))
	}
	return writeJSON(w, http.StatusOK, out)
}
