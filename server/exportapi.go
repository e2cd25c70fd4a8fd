package server

import (
	"net/http"

	"weightwarden/server/auth"
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
