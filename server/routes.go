package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/store"
)

// handler answers one route; its error becomes problem+json.
type handler func(w http.ResponseWriter, r *http.Request, p *auth.Principal) error

// route is one line of the API. What is not in the table does not exist, and what
// has no permission named is open: a test goes over every route with every role.
type route struct {
	method  string
	pattern string
	need    auth.Permission
	handle  handler
}

func (s *Server) routes() []route {
	return slices.Concat(s.agentRoutes(), s.openRoutes(), s.modelRoutes(), s.accessRoutes(), s.fleetRoutes(), s.hitRoutes(), s.settingRoutes(), s.auditRoutes(), s.caseRoutes())
}

// agentRoutes are what agents ask for.
func (s *Server) agentRoutes() []route {
	return []route{
		{"POST", api.PathEnroll, auth.Public, s.enrol},
		{"POST", api.PathRenew, auth.AsAgent, s.renew},
		{"POST", api.PathHits, auth.AsAgent, s.takeHits},
		{"POST", api.PathHeartbeat, auth.AsAgent, s.heartbeat},
		{"GET", api.PathManifest, auth.AsAgent, s.manifest},
		{"GET", api.PathBlob + "{digest}", auth.AsAgent, s.blob},
		{"GET", api.PathPolicy, auth.AsAgent, s.policy},
	}
}

// openRoutes are what says how the server is, and who asks.
func (s *Server) openRoutes() []route {
	return []route{
		{"GET", api.PathCA, auth.Public, s.getCA},
		{"GET", "/v1/openapi.yaml", auth.Public, s.getOpenAPI},
		{"GET", "/healthz", auth.Public, s.health},
		{"GET", "/readyz", auth.Public, s.ready},
		{"GET", "/metrics", auth.AgentsRead, s.getMetrics},
		{"GET", api.PathWhoAmI, auth.ModelsRead, s.whoAmI},
	}
}

// modelRoutes are the registry and its snapshots.
func (s *Server) modelRoutes() []route {
	return []route{
		{"GET", api.PathModels, auth.ModelsRead, s.listModels},
		{"GET", api.PathModels + "/{model}", auth.ModelsRead, s.getModel},
		{"PUT", api.PathModels + "/{model}", auth.ModelsWrite, s.putModel},
		{"DELETE", api.PathModels + "/{model}", auth.ModelsWrite, s.deleteModel},
		{"POST", api.PathModels + "/{model}/versions/{version}/artifacts", auth.ModelsWrite, s.addArtifact},
		{"GET", api.PathSnapshots, auth.ModelsRead, s.listSnapshots},
		{"POST", api.PathSnapshots, auth.ModelsWrite, s.publish},
		{"GET", api.PathSnapshots + "/latest/manifest", auth.ModelsRead, s.manifest},
		{"GET", api.PathSnapshots + "/latest/fpdb", auth.ModelsRead, s.latestBlob},
		{"POST", api.PathWebhooks + "/{source}", auth.Public, s.takeWebhook},
		{"GET", api.PathWebhookSources, auth.SettingWrite, s.listWebhookSources},
		{"POST", api.PathWebhookSources, auth.SettingWrite, s.addWebhookSource},
		{"DELETE", api.PathWebhookSources + "/{id}", auth.SettingWrite, s.deleteWebhookSource},
		{"GET", api.PathAnnouncements, auth.ModelsRead, s.listAnnouncements},
		{"POST", api.PathAnnouncements + "/{id}/dismiss", auth.ModelsWrite, s.dismissAnnouncement},
	}
}

// accessRoutes are tokens and accounts.
func (s *Server) accessRoutes() []route {
	return []route{
		{"GET", api.PathTokens, auth.TokensWrite, s.listTokens},
		{"POST", api.PathTokens, auth.TokensWrite, s.addToken},
		{"DELETE", api.PathTokens + "/{id}", auth.TokensWrite, s.revokeToken},
		{"GET", api.PathAccounts, auth.TokensWrite, s.listAccounts},
		{"POST", api.PathAccounts, auth.TokensWrite, s.addAccount},
		{"PUT", api.PathAccounts + "/{id}/roles", auth.TokensWrite, s.setAccountRoles},
		{"PUT", api.PathAccounts + "/{id}/state", auth.TokensWrite, s.setAccountState},
		{"POST", api.PathAccounts + "/{id}/password", auth.TokensWrite, s.resetPassword},
		{"GET", api.PathEnrolTokens, auth.TokensWrite, s.listEnrolTokens},
		{"POST", api.PathEnrolTokens, auth.TokensWrite, s.addEnrolToken},
		{"DELETE", api.PathEnrolTokens + "/{id}", auth.TokensWrite, s.revokeEnrolToken},
	}
}

// fleetRoutes are agents, their policies and sweeps.
func (s *Server) fleetRoutes() []route {
	return []route{
		{"GET", api.PathAgents, auth.AgentsRead, s.listAgents},
		{"GET", api.PathAgents + "/{id}", auth.AgentsRead, s.getAgent},
		{"PUT", api.PathAgents + "/{id}/state", auth.AgentsWrite, s.setAgentState},
		{"PUT", api.PathAgents + "/{id}/labels", auth.PolicyWrite, s.setAgentLabels},
		{"GET", api.PathPolicies, auth.AgentsRead, s.listPolicies},
		{"GET", api.PathPolicies + "/{name}", auth.AgentsRead, s.getPolicy},
		{"PUT", api.PathPolicies + "/{name}", auth.PolicyWrite, s.putPolicy},
		{"POST", api.PathPolicies + "/{name}/rollback", auth.PolicyWrite, s.rollbackPolicy},
		{"DELETE", api.PathPolicies + "/{name}", auth.PolicyWrite, s.deletePolicy},
		{"GET", api.PathSweeps, auth.AgentsRead, s.listSweeps},
		{"POST", api.PathSweeps, auth.SweepsWrite, s.addSweep},
		{"GET", api.PathSweeps + "/{id}", auth.AgentsRead, s.getSweep},
	}
}

// hitRoutes are hits, and where copies may be.
func (s *Server) hitRoutes() []route {
	return []route{
		{"GET", api.PathHitList, auth.HitsRead, s.listHits},
		{"GET", api.PathHitList + "/{id}", auth.HitsRead, s.getHit},
		{"GET", api.PathAlerts, auth.HitsRead, s.listAlerts},
		{"GET", api.PathAlerts + "/{id}", auth.HitsRead, s.getAlert},
		{"PATCH", api.PathAlerts + "/{id}", auth.AlertsWrite, s.changeAlert},
		{"GET", api.PathAuthorisations, auth.ModelsRead, s.listAuthorisations},
		{"POST", api.PathAuthorisations, auth.AuthorWrite, s.addAuthorisation},
		{"POST", api.PathAuthorisations + "/{id}/approve", auth.Approve, s.approveAuthorisation},
		{"DELETE", api.PathAuthorisations + "/{id}", auth.AuthorWrite, s.revokeAuthorisation},
		{"GET", api.PathCopies, auth.HitsRead, s.listCopies},
		{"GET", api.PathReconcile, auth.HitsRead, s.reconcile},
		{"GET", api.PathNavigator, auth.HitsRead, s.navigator},
	}
}

// settingRoutes are where it is told, and what is kept.
func (s *Server) settingRoutes() []route {
	return []route{
		{"GET", api.PathTargets, auth.SettingWrite, s.listTargets},
		{"POST", api.PathTargets, auth.SettingWrite, s.addTarget},
		{"DELETE", api.PathTargets + "/{id}", auth.SettingWrite, s.deleteTarget},
		{"GET", api.PathTargets + "/{id}/deliveries", auth.SettingWrite, s.listDeliveries},
		{"POST", api.PathTargets + "/{id}/replay", auth.SettingWrite, s.replay},
		{"GET", api.PathRetention, auth.SettingWrite, s.getRetention},
		{"PUT", api.PathRetention, auth.SettingWrite, s.putRetention},
		{"POST", api.PathRetention + "/purge", auth.SettingWrite, s.purge},
		{"GET", api.PathHolds, auth.HitsRead, s.listHolds},
		{"POST", api.PathHolds, auth.AlertsWrite, s.addHold},
		{"DELETE", api.PathHolds + "/{id}", auth.AlertsWrite, s.liftHold},
	}
}

// auditRoutes are the log of changes.
func (s *Server) auditRoutes() []route {
	return []route{
		{"GET", api.PathAudit, auth.AuditRead, s.auditLeaves},
		{"GET", api.PathAuditHead, auth.AuditRead, s.auditHead},
		{"GET", api.PathAuditProof, auth.AuditRead, s.auditProof},
		{"GET", api.PathAuditEntries + "/{seq}", auth.AuditRead, s.auditEntry},
	}
}

// caseRoutes are cases and what comes of them.
func (s *Server) caseRoutes() []route {
	return []route{
		{"GET", "/v1/cases", auth.CasesRead, s.listCases},
		{"POST", "/v1/cases", auth.CasesWrite, s.openCase},
		{"GET", "/v1/cases/{id}", auth.CasesRead, s.getCase},
		{"POST", "/v1/cases/{id}/actions", auth.CasesWrite, s.actOnCase},
		{"POST", "/v1/cases/{id}/alerts", auth.CasesWrite, s.joinAlerts},
		{"POST", "/v1/cases/{id}/observables", auth.CasesWrite, s.addObservable},
		{"POST", "/v1/cases/{id}/custody", auth.CasesWrite, s.addCustody},
		{"PUT", "/v1/cases/{id}/members/{actor}", auth.CasesWrite, s.addMember},
		{"DELETE", "/v1/cases/{id}/members/{actor}", auth.CasesWrite, s.removeMember},
		{"POST", "/v1/cases/{id}/approvals", auth.CasesWrite, s.askApproval},
		{"POST", "/v1/cases/{id}/approvals/{approval}", auth.CasesWrite, s.decideApproval},
		{"POST", "/v1/cases/{id}/hold", auth.CasesWrite, s.holdCase},
		{"GET", "/v1/cases/{id}/report", auth.CasesRead, s.caseReport},
		{"GET", "/v1/cases/{id}/bundle", auth.CasesRead, s.caseBundle},
		{"GET", "/v1/export/stix", auth.HitsRead, s.stix},
		{"POST", "/v1/copies/gone", auth.CasesWrite, s.removeCopy},
		{"POST", "/v1/signals", auth.SignalsWrite, s.takeSignal},
		{"GET", "/v1/playbooks/PB-53", auth.CasesRead, s.getPlaybook},
		{"GET", "/v1/kpis", auth.CasesRead, s.kpis},
	}
}

// Handler serves the API and the console.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range s.routes() {
		mux.Handle(rt.method+" "+rt.pattern, s.wrap(rt))
	}
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, &problem{status: http.StatusNotFound, detail: "there is no such route", hint: "/v1/openapi.yaml has them all"})
	})
	s.console.Register(mux)
	return http.MaxBytesHandler(readable(mux), maxBody)
}

// readable refuses addresses with text that no database keeps.
func readable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ok := store.Keeps(r.URL.Path)
		for name, values := range r.URL.Query() {
			ok = ok && store.Keeps(name) && !slices.ContainsFunc(values, func(v string) bool { return !store.Keeps(v) })
		}
		if !ok {
			writeProblem(w, &problem{status: http.StatusBadRequest, detail: "the address has a NUL, or is not UTF-8"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) wrap(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		started := time.Now()
		err := s.answer(rt, w, r)
		if err != nil {
			p := asProblem(err)
			if p.status >= 500 {
				s.log.Error("request failed", "method", r.Method, "route", rt.pattern, "error", err)
			}
			s.metrics.refused(rt.pattern, p.status)
			writeProblem(w, p)
		}
		s.metrics.served(rt.pattern, time.Since(started))
	})
}

func (s *Server) answer(rt route, w http.ResponseWriter, r *http.Request) error {
	p, err := s.identify(rt, r)
	if err != nil {
		return err
	}
	if !p.May(rt.need) {
		return refuse(http.StatusForbidden, "%s is not among what %q may do", rt.need, p.Name)
	}
	if err := s.inScope(rt, r, p); err != nil {
		return err
	}
	if p == nil {
		r.Body = http.MaxBytesReader(w, r.Body, maxOpenBody)
		return rt.handle(w, r, p)
	}
	leave, ok := s.crowd.Enter(p.ID)
	if !ok {
		return &problem{status: http.StatusTooManyRequests, detail: "too many requests of this caller are under way", retryAfter: 1}
	}
	defer leave()
	return rt.handle(w, r, p)
}

// inScope holds a token that was made for some models, by name or by owner, to the
// routes of these. A route that names no model is closed to it, whatever its roles; only
// who it is may be asked. Whose a new model will be is for putModel to see.
func (s *Server) inScope(rt route, r *http.Request, p *auth.Principal) error {
	if p == nil || !p.Bound() || rt.pattern == api.PathWhoAmI {
		return nil
	}
	model := r.PathValue("model")
	if model == "" || !p.MayChange(model) {
		return refuse(http.StatusForbidden, "this token is for models %s only", scopeText(p))
	}
	if len(p.Owners) == 0 {
		return nil
	}
	owner, err := s.store.ModelOwner(r.Context(), model)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil && !p.MayOwn(owner) {
		err = refuse(http.StatusForbidden, "this token is for models %s only", scopeText(p))
	}
	return err
}

func scopeText(p *auth.Principal) string {
	var parts []string
	if len(p.Models) > 0 {
		parts = append(parts, "named "+strings.Join(p.Models, ", "))
	}
	if len(p.Owners) > 0 {
		parts = append(parts, "of "+strings.Join(p.Owners, ", "))
	}
	return strings.Join(parts, " and ")
}

// identify finds who calls. nil is nobody, which only open routes take.
func (s *Server) identify(rt route, r *http.Request) (*auth.Principal, error) {
	remote, _, _ := net.SplitHostPort(r.RemoteAddr) // "" where there is none
	switch rt.need {
	case auth.Public:
		return nil, s.mayAsk(rt, remote)
	case auth.AsAgent:
		return s.identifyAgent(r, remote)
	}
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, &problem{status: http.StatusUnauthorized, detail: "no API token", hint: "send 'Authorization: Bearer wwt1...'; fpctl token new makes one"}
	}
	secret, err := auth.ParseToken(text)
	var t store.Token
	if err == nil {
		t, err = s.store.TokenBySecret(r.Context(), secret)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) && secret != nil {
		return nil, err
	}
	if err != nil {
		s.metrics.authFailed("token")
		// Secrets of 256 bits are not guessed. Who shares the address with a program
		// that has an old token goes on.
		if wait := s.limits.Try(remote); wait > 0 {
			return nil, tooManyTokens(wait)
		}
		return nil, refuse(http.StatusUnauthorized, "the API token is unknown, revoked or expired")
	}
	if !auth.FromNetwork(t.Networks, remote) {
		s.metrics.authFailed("network")
		return nil, refuse(http.StatusForbidden, "this token is not good from %s", remote)
	}
	if wait := s.rates.Wait(t.ID, time.Now()); wait > 0 {
		return nil, &problem{status: http.StatusTooManyRequests, detail: "this token makes too many requests", retryAfter: int(wait.Seconds()) + 1}
	}
	return &auth.Principal{Actor: store.Actor{Kind: "token", ID: t.ID, Name: t.Name, Remote: remote}, Roles: t.Roles, Models: t.Models, Owners: t.Owners}, nil
}

// mayAsk holds strangers to a rate, by address. Enrolment and health are left out: whole
// fleets may share an address, and balancers ask all the time.
func (s *Server) mayAsk(rt route, remote string) error {
	if slices.Contains([]string{api.PathEnroll, "/healthz", "/readyz"}, rt.pattern) {
		return nil
	}
	if wait := s.rates.Wait(auth.Network(remote), time.Now()); wait > 0 {
		return &problem{status: http.StatusTooManyRequests, detail: "too many requests from this address", retryAfter: int(wait.Seconds()) + 1}
	}
	return nil
}

func tooManyTokens(wait time.Duration) error {
	return &problem{status: http.StatusTooManyRequests, detail: "too many wrong tokens from this address", retryAfter: int(wait.Seconds()) + 1}
}

// identifyAgent reads the state from the database each time, so that a revocation
// takes effect with the very next request.
func (s *Server) identifyAgent(r *http.Request, remote string) (*auth.Principal, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil, refuse(http.StatusUnauthorized, "this route needs the client certificate of an agent")
	}
	id := r.TLS.PeerCertificates[0].Subject.CommonName
	state, host, _, err := s.store.AgentState(r.Context(), id)
	if errors.Is(err, store.ErrNotFound) || err == nil && state != store.AgentActive {
		s.metrics.authFailed("agent")
		return nil, &problem{status: http.StatusForbidden, detail: "agent " + id + " is " + orUnknown(state), hint: "enrol it anew: fpagent enroll"}
	}
	if err != nil {
		return nil, err
	}
	return &auth.Principal{Actor: store.Actor{Kind: "agent", ID: id, Name: host, Remote: remote}}, nil
}

func orUnknown(state string) string {
	if state == "" {
		return "unknown"
	}
	return state
}

func decodeStrict(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the JSON value")
	}
	return nil
}
