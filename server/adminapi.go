package server

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/ingest"
	"weightwarden/server/store"
)

func (s *Server) getCA(w http.ResponseWriter, _ *http.Request, _ *auth.Principal) error {
	w.Header().Set("Content-Type", "application/x-pem-file")
	_, _ = w.Write(s.ca.PEM) // the client may be gone
	return nil
}

func (s *Server) whoAmI(w http.ResponseWriter, _ *http.Request, p *auth.Principal) error {
	return writeJSON(w, http.StatusOK, api.WhoAmI{ID: p.ID, Name: p.Name, Kind: p.Kind, Roles: p.Roles, Server: s.cfg.Version,
		CAPin: api.PinOf(s.ca.Cert).String(), SnapshotKey: s.verifier})
}

// pageSize is how many items a list gives at most.
const (
	defaultPage = 100
	maxPage     = 1000
)

func limitOf(r *http.Request) (int, error) { return limitUpTo(r, maxPage) }

func limitUpTo(r *http.Request, most int) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, refuse(http.StatusBadRequest, "limit %.20q: want 1 to %d", text, most)
	}
	return n, nil
}

func timeParam(r *http.Request, name string) (time.Time, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, refuse(http.StatusBadRequest, "%s %.40q: want a time like 2026-01-31T15:04:05Z", name, text)
	}
	return t, nil
}

// page makes the answer of a list that was asked for with one item too many.
func page[S, T any](rows []S, limit int, id func(S) string, convert func(S) T) api.List[T] {
	out := api.List[T]{Items: make([]T, 0, min(len(rows), limit))}
	for i, row := range rows {
		if i == limit {
			out.Next = id(rows[i-1])
			break
		}
		out.Items = append(out.Items, convert(row))
	}
	return out
}

func (s *Server) listTokens(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	tokens, err := s.store.Tokens(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(tokens, len(tokens), nil, func(t store.Token) api.TokenInfo {
		return api.TokenInfo{ID: t.ID, Name: t.Name, Roles: t.Roles, Created: t.Created, By: t.CreatedBy, Expires: timePtr(t.Expires),
			LastUsed: timePtr(t.LastUsed), Revoked: timePtr(t.Revoked), Networks: t.Networks, Models: t.Models, Owners: t.Owners}
	}))
}

func timePtr(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (s *Server) addToken(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.TokenRequest
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	if err := auth.CheckRoles(req.Roles); err != nil {
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	if req.Name == "" || len(req.Name) > 200 {
		return refuse(http.StatusUnprocessableEntity, "name: 1 to 200 bytes, so that its use is known later")
	}
	if err := auth.CheckScope(req.Roles, req.Networks, req.Models, req.Owners); err != nil {
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	t := store.Token{Name: req.Name, Roles: req.Roles, Networks: req.Networks, Models: req.Models, Owners: req.Owners}
	if req.Expires != nil {
		if t.Expires = *req.Expires; t.Expires.Before(s.now()) {
			return refuse(http.StatusUnprocessableEntity, "expires is in the past")
		}
	}
	text, secret := auth.NewToken()
	t, err := s.store.AddToken(r.Context(), p.Actor, t, secret)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, api.TokenAnswer{ID: t.ID, Token: text})
}

func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	return done(w, s.store.RevokeToken(r.Context(), p.Actor, r.PathValue("id")))
}

func done(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (s *Server) listEnrolTokens(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	tokens, err := s.store.EnrolTokens(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(tokens, len(tokens), nil, func(t store.EnrolToken) api.TokenInfo {
		return api.TokenInfo{ID: t.ID, Name: t.Name, UsesLeft: &t.UsesLeft, Labels: t.Labels, Created: t.Created, By: t.CreatedBy,
			Expires: timePtr(t.Expires), Revoked: timePtr(t.Revoked)}
	}))
}

func (s *Server) addEnrolToken(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.EnrolTokenRequest
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	if req.Uses < 1 || req.Uses > 1_000_000 || req.Hours < 0 || req.Hours > 24*365 {
		return refuse(http.StatusUnprocessableEntity, "want uses 1 to 1000000, hours 0 to 8760")
	}
	if err := checkLabels(req.Labels); err != nil {
		return err
	}
	if req.Hours == 0 {
		req.Hours = 24
	}
	if req.Labels == nil {
		req.Labels = map[string]string{}
	}
	tok := api.NewEnrolToken(api.PinOf(s.ca.Cert))
	t, err := s.store.AddEnrolToken(r.Context(), p.Actor, store.EnrolToken{Name: ingest.Text(req.Name, 200), Labels: req.Labels, UsesLeft: req.Uses,
		Expires: s.now().Add(time.Duration(req.Hours) * time.Hour)}, tok.Secret)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, api.TokenAnswer{ID: t.ID, Token: tok.String()})
}

func (s *Server) revokeEnrolToken(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	return done(w, s.store.RevokeEnrolToken(r.Context(), p.Actor, r.PathValue("id")))
}

func agentInfo(f fleetState) func(store.Agent) api.AgentInfo {
	return func(a store.Agent) api.AgentInfo {
		return api.AgentInfo{ID: a.ID, Host: a.Host, OS: a.OS, Arch: a.Arch, Labels: a.Labels, State: a.State, StateReason: a.StateReason, Version: a.Version,
			Enrolled: a.Enrolled, CertExpires: a.CertExpires, Seen: a.Seen, Snapshot: a.Snapshot, Lag: max(0, f.epoch-a.Snapshot),
			Policy: a.Policy, PolicyNewest: f.policies.Revision, PolicyName: f.policyOf(a.Labels), Pending: a.Pending,
			Lost: a.Lost, Gaps: a.Gaps, Problems: a.Problems}
	}
}

func (s *Server) listAgents(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	agents, err := s.store.Agents(r.Context(), r.URL.Query().Get("after"), limit+1)
	if err != nil {
		return err
	}
	f, err := s.fleetState(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(agents, limit, func(a store.Agent) string { return a.ID }, agentInfo(f)))
}

func (s *Server) getAgent(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	a, err := s.store.Agent(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	f, err := s.fleetState(r.Context())
	if err != nil {
		return err
	}
	info := agentInfo(f)(a)
	info.Heartbeat = a.Heartbeat
	return writeJSON(w, http.StatusOK, info)
}

func (s *Server) setAgentState(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.AgentState
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	if !slices.Contains([]string{store.AgentActive, store.AgentRevoked}, req.State) {
		return refuse(http.StatusUnprocessableEntity, "state %.40q: want %s or %s", req.State, store.AgentActive, store.AgentRevoked)
	}
	return done(w, s.store.SetAgentState(r.Context(), p.Actor, r.PathValue("id"), req.State, ingest.Text(req.Reason, 1000)))
}
