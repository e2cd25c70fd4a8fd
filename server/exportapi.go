package server

import (
	"context"
	"net/http"

	"weightwarden/server/auth"
	"weightwarden/server/cases"
	"weightwarden/server/export"
	"weightwarden/server/store"
	"weightwarden/server/techniques"
)

// navigator answers with an ATT&CK Navigator layer of the alerts, all or those
// that began since a time.
func (s *Server) navigator(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	since, err := timeParam(r, "since")
	if err != nil {
		return err
	}
	var tally techniques.Tally
	err = s.store.EachAlert(r.Context(), store.AlertFilter{Since: since}, func(a store.Alert) error {
		tally.Add(techniques.For(a.Facts()))
		return nil
	})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Disposition", `attachment; filename="weightwarden-navigator.json"`)
	return writeJSON(w, http.StatusOK, techniques.Navigator(&tally, s.now()))
}

// stix answers with a STIX 2.1 bundle of a case or of an alert.
func (s *Server) stix(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	q := r.URL.Query()
	if (q.Get("case") == "") == (q.Get("alert") == "") {
		return refuse(http.StatusBadRequest, "say which: ?case= or ?alert=")
	}
	var e *export.Evidence
	var err error
	if id := q.Get("case"); id != "" {
		if !p.May(auth.CasesRead) {
			return refuse(http.StatusForbidden, "%s is not among what %q may do", auth.CasesRead, p.Name)
		}
		e, err = s.caseEvidence(r.Context(), p.Actor, id)
	} else {
		e, err = s.alertEvidence(r.Context(), q.Get("alert"))
	}
	if err != nil {
		return err
	}
	body, err := export.STIX(e)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/stix+json;version=2.1")
	w.Header().Set("Content-Disposition", `attachment; filename="weightwarden-stix.json"`)
	_, _ = w.Write(body) // the client may be gone
	return nil
}

func (s *Server) caseEvidence(ctx context.Context, by store.Actor, id string) (*export.Evidence, error) {
	id, err := s.store.CaseID(ctx, by, id)
	if err != nil {
		return nil, err
	}
	f, err := s.store.Case(ctx, by, s.playbook, id)
	if err != nil {
		return nil, err
	}
	return s.evidenceOf(ctx, f)
}

func (s *Server) evidenceOf(ctx context.Context, f *store.CaseFile) (*export.Evidence, error) {
	hits, err := s.store.CaseHits(ctx, f.ID, sealedHits)
	return &export.Evidence{ID: f.ID, Title: f.Ref() + ": " + f.Title, Summary: f.Summary, TLP: f.TLP, Hits: hits, Techniques: f.Techniques(s.playbook), Created: f.Opened,
		Modified: f.Updated, Incident: true}, err
}

// alertEvidence is of the newest hits of an alert.
func (s *Server) alertEvidence(ctx context.Context, id string) (*export.Evidence, error) {
	a, err := s.store.Alert(ctx, id)
	if err != nil {
		return nil, err
	}
	list, err := s.store.Hits(ctx, store.HitFilter{Alert: id, Limit: 200})
	if err != nil {
		return nil, err
	}
	e := &export.Evidence{ID: a.ID, Title: a.Model, TLP: "AMBER", Created: a.FirstSeen, Modified: a.LastSeen}
	for _, x := range list {
		h, err := s.store.Hit(ctx, x.ID)
		if err != nil {
			return nil, err
		}
		e.Hits = append(e.Hits, cases.Hit{ID: h.ID, Received: h.Received, Path: h.Path, Body: h.Body})
	}
	for _, t := range techniques.For(a.Facts()) {
		e.Techniques = append(e.Techniques, cases.Technique{ID: t.ID, Name: t.Name, Framework: t.Framework + " " + t.Version})
	}
	return e, nil
}
