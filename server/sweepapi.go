package server

import (
	"net/http"
	"strings"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/store"
)

func sweepInfo(w store.Sweep) api.SweepInfo {
	return api.SweepInfo{ID: w.ID, Model: w.Model, Paths: w.Paths, Created: w.Created, CreatedBy: w.CreatedBy, Ends: w.Ends, Agents: w.Agents, Asked: w.Asked,
		Done: w.Done, Files: w.Files, Complete: w.Done >= w.Agents && w.Agents > 0}
}

func (s *Server) listSweeps(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	list, err := s.store.Sweeps(r.Context(), limit)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(list, limit, nil, sweepInfo))
}

func (s *Server) getSweep(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	sweep, err := s.store.Sweep(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, sweepInfo(sweep))
}

func (s *Server) addSweep(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.NewSweep
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	if req.Hours < 0 || req.Hours > 24*30 || len(req.Paths) > 64 || len(req.Model) > 128 {
		return refuse(http.StatusUnprocessableEntity, "want hours 0 to 720 and at most 64 paths")
	}
	for _, path := range req.Paths {
		if len(path) > 4096 || strings.ContainsRune(path, 0) {
			return refuse(http.StatusUnprocessableEntity, "path %.100q", path)
		}
	}
	if req.Hours == 0 {
		req.Hours = 24
	}
	id, err := s.store.AddSweep(r.Context(), p.Actor, req.Model, req.Paths, s.now().Add(time.Duration(req.Hours)*time.Hour))
	if err != nil {
		return err
	}
	sweep, err := s.store.Sweep(r.Context(), id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, sweepInfo(sweep))
}
