package server

import (
	"net/http"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/store"
)

func (s *Server) listAccounts(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	accounts, err := s.store.Accounts(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(accounts, len(accounts), nil, func(a store.Account) api.AccountInfo {
		state := "active"
		if !a.Disabled.IsZero() {
			state = "disabled"
		}
		return api.AccountInfo{ID: a.ID, Name: a.Name, Roles: a.Roles, State: state, Temporary: a.Temporary, Created: a.Created, By: a.CreatedBy,
			LastUsed: timePtr(a.LastUsed), Failures: a.Failures}
	}))
}

// addAccount makes an account with a password that is good until the person chose
// another one: whoever made the account knows it.
func (s *Server) addAccount(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.AccountRequest
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	if err := auth.CheckRoles(req.Roles); err != nil {
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	if err := auth.CheckName(req.Name); err != nil {
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	password := auth.NewPassword()
	phc, err := s.passwords.Hash(r.Context(), password)
	if err != nil {
		return err
	}
	a, err := s.store.AddAccount(r.Context(), p.Actor, store.Account{Name: req.Name, Roles: req.Roles}, phc)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, api.AccountAnswer{ID: a.ID, Password: password})
}

func (s *Server) setAccountRoles(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.AccountRoles
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	if err := auth.CheckRoles(req.Roles); err != nil {
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	return done(w, s.store.SetAccountRoles(r.Context(), p.Actor, r.PathValue("id"), req.Roles))
}

func (s *Server) setAccountState(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.AccountState
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	if req.State != "active" && req.State != "disabled" {
		return refuse(http.StatusUnprocessableEntity, "state %.40q: want active or disabled", req.State)
	}
	return done(w, s.store.DisableAccount(r.Context(), p.Actor, r.PathValue("id"), req.State == "disabled"))
}

// resetPassword gives an account a password for one sign-in, and ends its sessions.
func (s *Server) resetPassword(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	password := auth.NewPassword()
	phc, err := s.passwords.Hash(r.Context(), password)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	if err := s.store.SetPassword(r.Context(), p.Actor, id, phc); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, api.AccountAnswer{ID: id, Password: password})
}
