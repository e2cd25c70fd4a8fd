package server

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/store"
)

// reconcile answers where the registry, what is allowed and what agents saw differ.
func (s *Server) reconcile(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	f, err := differenceFilter(r)
	if err != nil {
		return err
	}
	list, next, err := s.store.Differences(r.Context(), f)
	if err != nil {
		return err
	}
	out := api.List[api.Difference]{Items: make([]api.Difference, len(list)), Next: next}
	for i, d := range list {
		out.Items[i] = differenceInfo(d)
	}
	return writeJSON(w, http.StatusOK, out)
}

func differenceFilter(r *http.Request) (store.DifferenceFilter, error) {
	limit, err := limitOf(r)
	if err != nil {
		return store.DifferenceFilter{}, err
	}
	q := r.URL.Query()
	f := store.DifferenceFilter{Kind: q.Get("kind"), Model: q.Get("model"), Unseen: store.UnseenAfter, After: q.Get("after"), Limit: limit}
	if f.Kind != "" && !slices.Contains([]string{store.Unregistered, store.Misplaced, store.Missing}, f.Kind) {
		return f, refuse(http.StatusBadRequest, "kind %.40q: want unregistered, misplaced or missing", f.Kind)
	}
	if text := q.Get("days"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 3660 {
			return f, refuse(http.StatusBadRequest, "days %.20q: want 1 to 3660", text)
		}
		f.Unseen = time.Duration(n) * 24 * time.Hour
	}
	if ok, err := regexp.MatchString(`^([0-9]:[^/]*/[^/]*)?$`, f.After); err != nil || !ok {
		return f, refuse(http.StatusBadRequest, "after %.40q: want what next gave", f.After)
	}
	return f, nil
}

func differenceInfo(d store.Difference) api.Difference {
	return api.Difference{Kind: d.Kind, Reason: d.Reason, Text: store.WhyText(d.Reason), Model: d.Model, Version: d.Version, Host: d.Host, Agent: d.Agent, Path: d.Path,
		Authorisation: d.Permit, Hit: d.Hit, By: d.By, Since: d.Since, LastSeen: timePtr(d.LastSeen), Unobserved: d.Unobserved}
}
