package agenttest

import (
	"encoding/hex"
	"net/http"

	"github.com/zeebo/blake3"

	"weightwarden/internal/policy"
)

func (s *Server) getPolicy(w http.ResponseWriter, r *http.Request, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.policy == nil {
		problem(w, http.StatusNotFound, "no policy")
		return
	}
	sum := blake3.Sum256(s.policy)
	etag := `"` + hex.EncodeToString(sum[:]) + `"`
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("ETag", etag)
	_, _ = w.Write(s.policy)
}

// Order signs a policy and serves it; its version is told as the revision of the
// policies.
func (s *Server) Order(p *policy.Policy) {
	text, err := policy.Sign(p, s.signer)
	s.check(err)
	s.OrderRaw(text)
	s.Revise(p.Version)
}

// Revise tells agents another revision of the policies, whatever is served.
func (s *Server) Revise(revision int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision = revision
}

// PolicyAsked counts the requests for the policy.
func (s *Server) PolicyAsked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// OrderRaw serves any bytes as policy.
func (s *Server) OrderRaw(text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = text
}

// Ordered returns the policy that is served.
func (s *Server) Ordered() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policy
}
