package server

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"

	"weightwarden/internal/api"
	"weightwarden/server/announce"
	"weightwarden/server/auth"
	"weightwarden/server/store"
)

// takeWebhook takes what a registry elsewhere tells. Its path names the source, its
// signature or secret proves it: a source that there is not and a wrong secret look the
// same from outside. What it tells is kept before the answer.
func (s *Server) takeWebhook(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, announce.MaxBody))
	if err != nil {
		return err
	}
	if err := checkShape(body); err != nil {
		return err
	}
	remote, _, _ := net.SplitHostPort(r.RemoteAddr) // "" where there is none
	src, err := s.store.WebhookSource(r.Context(), r.PathValue("source"))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err != nil {
		return s.unproved(remote)
	}
	list, delivery, err := announce.Read(src.Provider, src.Secret, r.Header, body, s.now())
	switch {
	case errors.Is(err, announce.ErrUnproved):
		s.log.Warn("webhook refused", "source", src.ID, "name", src.Name, "remote", remote, "error", err)
		return s.unproved(remote)
	case err != nil:
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	told := make([]store.Announcement, len(list))
	for i, v := range list {
		told[i] = store.Announcement{Model: v.Model, Version: v.Version, Kind: v.Kind, Title: v.Title, Origin: v.Origin, Who: v.Who}
	}
	n, err := s.store.Announce(r.Context(), src, remote, delivery, told)
	if errors.Is(err, store.ErrTooManyOpen) {
		return &problem{status: http.StatusTooManyRequests, detail: err.Error(), retryAfter: 3600}
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, api.WebhookAnswer{Announced: n})
}

// unproved refuses a webhook, and who tries many secrets for a while.
func (s *Server) unproved(remote string) error {
	s.metrics.authFailed("webhook")
	if wait := s.limits.Try(remote); wait > 0 {
		return tooManyTokens(wait)
	}
	return &problem{status: http.StatusUnauthorized, detail: "the webhook does not prove who sent it", hint: "the server's log says what is wrong; its clock counts for signed times"}
}

func sourceInfo(x store.WebhookSource) api.WebhookSource {
	return api.WebhookSource{ID: x.ID, Name: x.Name, Provider: x.Provider, Path: api.PathWebhooks + "/" + x.ID, Created: timePtr(x.Created), By: x.CreatedBy, LastUsed: timePtr(x.LastUsed)}
}

func (s *Server) listWebhookSources(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	list, err := s.store.WebhookSources(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(list, len(list), nil, sourceInfo))
}

func (s *Server) addWebhookSource(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.WebhookSource
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	if req.ID != "" || req.Path != "" || req.By != "" || req.Created != nil || req.LastUsed != nil {
		return refuse(http.StatusUnprocessableEntity, "only name, provider and secret can be set")
	}
	if req.Name == "" || len(req.Name) > 200 || !slices.Contains([]string{announce.MLflow, announce.HuggingFace}, req.Provider) {
		return refuse(http.StatusUnprocessableEntity, "want a name of at most 200 bytes and a provider: mlflow or huggingface")
	}
	if req.Secret == "" {
		secret := make([]byte, 32)
		rand.Read(secret) // never fails: crypto/rand ends the process instead
		req.Secret = base64.RawURLEncoding.EncodeToString(secret)
	}
	if len(req.Secret) < announce.MinSecret || len(req.Secret) > announce.MaxSecret || slices.ContainsFunc([]byte(req.Secret), func(c byte) bool { return c <= ' ' || c > '~' }) {
		return refuse(http.StatusUnprocessableEntity, "secret: want %d to %d printable ASCII characters without spaces", announce.MinSecret, announce.MaxSecret)
	}
	x, err := s.store.AddWebhookSource(r.Context(), p.Actor, store.WebhookSource{Name: req.Name, Provider: req.Provider, Secret: []byte(req.Secret)})
	if err != nil {
		return err
	}
	info := sourceInfo(x)
	info.Secret = req.Secret
	return writeJSON(w, http.StatusCreated, info)
}

func (s *Server) deleteWebhookSource(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	return done(w, s.store.DeleteWebhookSource(r.Context(), p.Actor, r.PathValue("id")))
}

func (s *Server) listAnnouncements(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	state := q.Get("state")
	if state != "" && state != "open" && state != "all" {
		return refuse(http.StatusBadRequest, "state %.40q: want open or all", state)
	}
	list, err := s.store.Announcements(r.Context(), q.Get("model"), q.Get("after"), state == "all", limit+1)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(list, limit, func(a store.Announcement) string { return a.ID }, func(a store.Announcement) api.Announcement {
		return api.Announcement{ID: a.ID, Model: a.Model, Version: a.Version, Kind: a.Kind, Title: a.Title, Origin: a.Origin, Who: a.Who, Provider: a.Provider, By: a.By,
			Announced: a.Announced, Closed: timePtr(a.Closed), ClosedBy: a.ClosedBy, Note: a.Note}
	}))
}

func (s *Server) dismissAnnouncement(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.Dismissal
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	if req.Reason == "" || len(req.Reason) > 2000 {
		return refuse(http.StatusUnprocessableEntity, "say in at most 2000 bytes why it need not be registered")
	}
	return done(w, s.store.DismissAnnouncement(r.Context(), p.Actor, r.PathValue("id"), req.Reason))
}
