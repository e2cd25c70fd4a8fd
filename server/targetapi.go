package server

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strings"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/export"
	"weightwarden/server/ingest"
	"weightwarden/server/store"
)

func targetInfo(t store.Target) api.Target {
	return api.Target{ID: t.ID, Name: t.Name, Kind: t.Kind, URL: t.URL, Format: t.Format, AllowPrivate: t.AllowPrivate, Recipients: t.Recipients, Failures: t.Failures,
		PausedUntil: timePtr(t.PausedUntil), LastError: t.LastError}
}

func (s *Server) listTargets(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	list, waiting, err := s.store.Targets(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(list, len(list), nil, func(t store.Target) api.Target {
		info := targetInfo(t)
		info.Waiting = waiting[t.ID]
		return info
	}))
}

func (s *Server) addTarget(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.Target
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	if req.ID != "" || req.Secret != "" || req.Waiting+req.Failures != 0 || req.PausedUntil != nil || req.LastError != "" {
		return refuse(http.StatusUnprocessableEntity, "only name, kind, url, format, allow_private, recipients and routing_key can be set")
	}
	if err := checkRecipients(req.Recipients); err != nil {
		return err
	}
	t := store.Target{Name: ingest.Text(req.Name, 200), Kind: req.Kind, URL: req.URL, Format: req.Format, AllowPrivate: req.AllowPrivate, Recipients: req.Recipients, Secret: make([]byte, 32)}
	rand.Read(t.Secret) // never fails: crypto/rand ends the process instead
	switch {
	case t.Format == export.PagerDuty:
		t.Secret = []byte(req.RoutingKey)
	case req.RoutingKey != "":
		return refuse(http.StatusUnprocessableEntity, "routing_key: only format pagerduty has one")
	}
	if err := export.CheckTarget(t); err != nil {
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	t, err := s.store.AddTarget(r.Context(), p.Actor, t)
	if err != nil {
		return err
	}
	info := targetInfo(t)
	if t.Kind == "webhook" && t.Format != export.PagerDuty {
		info.Secret = "whsec_" + base64.StdEncoding.EncodeToString(t.Secret)
	}
	return writeJSON(w, http.StatusCreated, info)
}

func (s *Server) deleteTarget(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	return done(w, s.store.DeleteTarget(r.Context(), p.Actor, r.PathValue("id")))
}

func (s *Server) listDeliveries(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	list, err := s.store.Deliveries(r.Context(), r.PathValue("id"), limit)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(list, limit, nil, func(d store.Delivery) api.Delivery {
		return api.Delivery{ID: d.ID, Event: d.Event, Alert: d.Alert, Created: d.Created, Attempts: d.Attempts, Delivered: timePtr(d.Delivered), Error: d.Error}
	}))
}

func (s *Server) replay(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.Replay
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	return done(w, s.store.Replay(r.Context(), p.Actor, r.PathValue("id"), req.Since))
}

// checkRecipients keeps to short names: the store joins them with commas.
func checkRecipients(list []string) error {
	for _, r := range list {
		if r == "" || len(r) > 80 || strings.ContainsAny(r, ",%_\\") || len(list) > 20 {
			return refuse(http.StatusUnprocessableEntity, "recipient %.80q: want at most 20 short names without , %% _ or a backslash", r)
		}
	}
	return nil
}
