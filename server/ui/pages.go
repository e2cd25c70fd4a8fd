package ui

import (
	"net/http"
	"net/url"

	"weightwarden/internal/api"
	"weightwarden/server/store"
)

const pageSize = 50

type hitsPage struct {
	Hits    []store.Hit
	Filter  store.HitFilter
	Active  bool // something is filtered
	Counts  [5]int
	Next    string // query of the next page
	Shown   int
	Total   int
	Capped  bool
	Words   []api.Word
	Classes []string
	Views   viewBar
	CSV     string
}

// countCap bounds how far the number of hits is counted for a page.
const countCap = 10000

func (c *Console) hits(v *visit) error {
	q := v.r.URL.Query()
	f := hitFilter(v.r)
	f.Limit = pageSize + 1
	hits, err := c.store.Hits(v.r.Context(), f)
	if err != nil {
		return err
	}
	p := hitsPage{Hits: hits, Filter: f, Words: hitWords(), Classes: classes(),
		Active: f.Verdict+f.Model+f.Host+f.User+f.Agent+f.Class+f.Alert+f.Text != ""}
	if len(hits) > pageSize {
		p.Hits = hits[:pageSize]
		p.Next = nextQuery(q, hits[pageSize-1].ID)
	}
	p.Shown = len(p.Hits)
	if p.Counts, err = c.store.AlertCounts(v.r.Context()); err != nil {
		return err
	}
	f.Before = ""
	if p.Total, err = c.store.CountHits(v.r.Context(), f, countCap); err != nil {
		return err
	}
	p.Capped = p.Total == countCap
	if p.Views, err = c.views(v, "/hits"); err != nil {
		return err
	}
	p.CSV = csvLink(v.r)
	return c.render(v, http.StatusOK, "hits", "Hits", "hits", p)
}

func nextQuery(q url.Values, after string) string {
	q.Set("after", after)
	return "?" + q.Encode()
}

func hitWords() []api.Word {
	return []api.Word{api.Identical, api.Repackaged, api.Partial, api.Cast, api.Quantised, api.Derived, api.Merged, api.Reparameterised, api.Inconclusive}
}

func classes() []string {
	return []string{"fixed", "removable", "network", "cloud_sync", "fuse_remote", "container", "image", "ram", "archive", "git_remote", "download", "unknown"}
}
