package server

import (
	"net/http"
	"slices"
	"strings"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/store"
)

func (s *Server) getRetention(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	ret, err := s.store.Retention(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, api.Retention(ret))
}

func (s *Server) putRetention(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.Retention
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	for _, days := range []int{req.Hits, req.Alerts, req.Copies, req.Deliveries, req.Sweeps} {
		if days < 0 || days > 36500 {
			return refuse(http.StatusUnprocessableEntity, "%d days: want 0 (for ever) to 36500", days)
		}
	}
	if err := s.store.SetRetention(r.Context(), p.Actor, store.Retention(req)); err != nil {
		return err
	}
	return s.getRetention(w, r, p)
}

func (s *Server) purge(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	counts, err := s.store.Purge(r.Context(), p.Actor, s.now())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, api.PurgeAnswer{Deleted: counts})
}

func holdInfo(h store.Hold) api.Hold {
	return api.Hold{ID: h.ID, Kind: h.Kind, Ref: h.Ref, Reason: h.Reason, Created: timePtr(h.Created), CreatedBy: h.CreatedBy, Lifted: timePtr(h.Lifted), LiftedBy: h.LiftedBy}
}

func (s *Server) listHolds(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	list, err := s.store.Holds(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(list, len(list), nil, holdInfo))
}

func (s *Server) addHold(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.Hold
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	if req.ID != "" || req.Created != nil || req.CreatedBy != "" || req.Lifted != nil || req.LiftedBy != "" {
		return refuse(http.StatusUnprocessableEntity, "only kind, ref and reason can be set")
	}
	if !slices.Contains(store.HoldKinds(), req.Kind) || req.Ref == "" || len(req.Ref) > 255 || req.Reason == "" || len(req.Reason) > 10000 {
		return refuse(http.StatusUnprocessableEntity, "want a kind of %s, what it names, and a reason", strings.Join(store.HoldKinds(), ", "))
	}
	h, err := s.store.AddHold(r.Context(), p.Actor, store.Hold{Kind: req.Kind, Ref: req.Ref, Reason: req.Reason})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, holdInfo(h))
}

func (s *Server) liftHold(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	return done(w, s.store.LiftHold(r.Context(), p.Actor, r.PathValue("id")))
}
