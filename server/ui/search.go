package ui

import (
	"net/http"
	"strings"

	"weightwarden/server/auth"
	"weightwarden/server/store"
)

const foundOfEach = 12

type searchPage struct {
	Text  string
	Found store.Found
	Cases []store.CaseRow
	None  bool
	Hits  bool
}

// search looks for a digest, for the beginning of a host, model, user or file name,
// and for a case by its reference or a part of its title, subject or models.
func (c *Console) search(v *visit) error {
	text := strings.TrimSpace(v.r.URL.Query().Get("q"))
	if len(text) > 400 {
		return inputError("search for at most 400 bytes")
	}
	p := searchPage{Text: text, Hits: v.who.May(auth.HitsRead)}
	if text != "" && !strings.ContainsRune(text, 0) {
		var err error
		if p.Found, err = c.store.Find(v.r.Context(), text, foundOfEach); err != nil {
			return err
		}
	}
	if text != "" && v.who.May(auth.CasesRead) {
		var err error
		if p.Cases, err = c.store.Cases(v.r.Context(), v.who.Actor, store.CaseFilter{Text: text, Limit: foundOfEach}); err != nil {
			return err
		}
	}
	f := &p.Found
	if !p.Hits {
		f.Users, f.Files, f.Same = nil, nil, nil
	}
	if !v.who.May(auth.AgentsRead) {
		f.Agents = nil
	}
	p.None = len(f.Agents)+len(f.Models)+len(f.Users)+len(f.Files)+len(f.Same)+len(f.Owned)+len(p.Cases) == 0
	return c.render(v, http.StatusOK, "search", "Search", "", p)
}
