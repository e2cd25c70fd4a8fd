package server

import (
	"net/http"
	"slices"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/store"
)

func hitInfo(h store.Hit) api.HitInfo {
	return api.HitInfo{ID: h.ID, Agent: h.Agent, Received: h.Received, Observed: h.Observed, Event: h.Event, Verdict: h.Verdict, Model: h.Model,
		Version: h.Version, Kind: h.Kind, Host: h.Host, User: h.User, Process: h.Process, Path: h.Path, DestClass: h.DestClass, Size: h.Size,
		Coverage: h.Coverage, Alert: h.AlertID, Authorised: h.Authorised,
		Opinion: h.Opinion, OpinionText: h.OpinionText, Hit: h.Body}
}

func (s *Server) listHits(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	f := store.HitFilter{Limit: limit + 1, Before: q.Get("after"), Verdict: q.Get("verdict"), Model: q.Get("model"), Host: q.Get("host"), User: q.Get("user"),
		Agent: q.Get("agent"), Class: q.Get("destination"), Alert: q.Get("alert"), Opinion: q.Get("opinion"), Text: q.Get("q")}
	if f.Since, err = timeParam(r, "since"); err != nil {
		return err
	}
	if f.Until, err = timeParam(r, "until"); err != nil {
		return err
	}
	hits, err := s.store.Hits(r.Context(), f)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(hits, limit, func(h store.Hit) string { return h.ID }, hitInfo))
}

func (s *Server) getHit(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	h, err := s.store.Hit(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, hitInfo(h))
}

func alertInfo(a store.Alert) api.AlertInfo {
	return api.AlertInfo{ID: a.ID, DedupKey: a.DedupKey, State: a.State, Severity: a.Severity, Verdict: a.Verdict, Model: a.Model, Version: a.Version,
		Agent: a.Agent, Host: a.Host, User: a.User, DestClass: a.DestClass, Coverage: a.Coverage, Path: a.Path, Process: a.Process, Hits: a.Hits,
		FirstSeen: a.FirstSeen, LastSeen: a.LastSeen, Owner: a.Owner, Resolution: a.Resolution, Note: a.Note, Case: a.CaseID}
}

func (s *Server) listAlerts(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	alerts, err := s.store.Alerts(r.Context(), store.AlertFilter{Limit: limit + 1, Before: q.Get("after"), State: q.Get("state"), Model: q.Get("model"),
		Host: q.Get("host"), User: q.Get("user"), Owner: q.Get("owner"), Text: q.Get("q")})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(alerts, limit, func(a store.Alert) string { return a.ID }, alertInfo))
}

func (s *Server) getAlert(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	a, err := s.store.Alert(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, alertInfo(a))
}

func (s *Server) changeAlert(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var c api.AlertChange
	if err := readJSON(r, &c, strict); err != nil {
		return err
	}
	if c.State != nil && !slices.Contains([]string{store.AlertOpen, store.AlertAcknowledged, store.AlertClosed}, *c.State) {
		return refuse(http.StatusUnprocessableEntity, "state %.40q: want open, acknowledged or closed", *c.State)
	}
	if c.Severity != nil && (*c.Severity < store.SeverityCritical || *c.Severity > store.SeverityLow) {
		return refuse(http.StatusUnprocessableEntity, "severity %d: want 1 (critical) to 4 (low)", *c.Severity)
	}
	if c.Resolution != nil && !slices.Contains([]string{"", "true_positive", "false_positive", "authorised", "test"}, *c.Resolution) {
		return refuse(http.StatusUnprocessableEntity, "resolution %.40q: want true_positive, false_positive, authorised or test", *c.Resolution)
	}
	if c.Owner != nil && len(*c.Owner) > 255 || c.Note != nil && len(*c.Note) > 10000 {
		return refuse(http.StatusUnprocessableEntity, "want an owner of at most 255 and a note of at most 10000 bytes")
	}
	id := r.PathValue("id")
	err := s.store.ChangeAlert(r.Context(), p.Actor, id, store.AlertChange{State: c.State, Severity: c.Severity, Owner: c.Owner, Resolution: c.Resolution, Note: c.Note})
	if err != nil {
		return err
	}
	return s.getAlert(w, r, p)
}

func (s *Server) listCopies(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	copies, err := s.store.Copies(r.Context(), r.URL.Query().Get("model"), limit)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(copies, limit, nil, func(c store.Copy) api.Copy {
		return api.Copy{Host: c.Host, Agent: c.Agent, Path: c.Path, Model: c.Model, Version: c.Version, Verdict: c.Verdict, DestClass: c.DestClass, Size: c.Size,
			User: c.User, FirstSeen: c.FirstSeen, LastSeen: c.LastSeen, Hit: c.LastHit, Authorised: c.Authorised}
	}))
}

func authorisationInfo(a store.Authorisation) api.Authorisation {
	return api.Authorisation{ID: a.ID, Model: a.Model, Host: a.Host, User: a.User, Program: a.Program, Path: a.Path, Reason: a.Reason, Expires: a.Expires,
		CreatedBy: a.CreatedBy, ApprovedBy: a.ApprovedBy, Revoked: timePtr(a.Revoked)}
}

func (s *Server) listAuthorisations(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	list, err := s.store.Authorisations(r.Context(), r.URL.Query().Get("model"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(list, len(list), nil, authorisationInfo))
}

func (s *Server) addAuthorisation(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var a api.Authorisation
	if err := readJSON(r, &a, strict); err != nil {
		return err
	}
	if a.ID != "" || a.CreatedBy != "" || a.ApprovedBy != "" || a.Revoked != nil {
		return refuse(http.StatusUnprocessableEntity, "id, created_by, approved_by and revoked are the server's to set")
	}
	if a.Reason == "" || !a.Expires.After(s.now()) {
		return refuse(http.StatusUnprocessableEntity, "an authorisation needs a reason and an end in the future")
	}
	if len(a.Host) > 255 || len(a.User) > 255 || max(len(a.Program), len(a.Path)) > 4096 || len(a.Reason) > 10000 {
		return refuse(http.StatusUnprocessableEntity, "want a host and a user of at most 255 bytes, a program and a path of at most 4096, a reason of at most 10000")
	}
	if a.Host == "" && a.User == "" && a.Program == "" && a.Path == "" {
		return refuse(http.StatusUnprocessableEntity, "name at least one of host, user, program, path: this would allow every copy")
	}
	added, err := s.store.AddAuthorisation(r.Context(), p.Actor, store.Authorisation{Model: a.Model, Host: a.Host, User: a.User, Program: a.Program, Path: a.Path,
		Reason: a.Reason, Expires: a.Expires})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, authorisationInfo(added))
}

func (s *Server) approveAuthorisation(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	return done(w, s.store.ApproveAuthorisation(r.Context(), p.Actor, r.PathValue("id")))
}

func (s *Server) revokeAuthorisation(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	return done(w, s.store.RevokeAuthorisation(r.Context(), p.Actor, r.PathValue("id")))
}
