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
	Further string // query of a look further back, for text
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

// textBack is how many hits are looked through at once for text within: their rows
// are large.
const textBack = 20_000

func (c *Console) hits(v *visit) error {
	ctx, q := v.r.Context(), v.r.URL.Query()
	f := hitFilter(v.r)
	p := hitsPage{Filter: f, Words: hitWords(), Classes: classes(), CSV: csvLink(v.r), Active: f.Verdict+f.Model+f.Host+f.User+f.Agent+f.Class+f.Alert+f.Text+f.Content != ""}
	f.Limit = pageSize + 1
	var err error
	if f.Text != "" {
		if f.From, err = c.store.HitBack(ctx, f.Before, textBack); err != nil {
			return err
		}
	}
	if p.Hits, err = c.store.Hits(ctx, f); err != nil {
		return err
	}
	switch {
	case len(p.Hits) > pageSize:
		p.Hits = p.Hits[:pageSize]
		p.Next = nextQuery(q, p.Hits[pageSize-1].ID)
	case f.From != "":
		p.Further = nextQuery(q, f.From)
	}
	p.Shown = len(p.Hits)
	if p.Counts, err = c.store.AlertCounts(ctx); err != nil {
		return err
	}
	if f.Text == "" {
		f.Before = ""
		if p.Total, err = c.store.CountHits(ctx, f, countCap); err != nil {
			return err
		}
		p.Capped = p.Total == countCap
	}
	if p.Views, err = c.views(v, "/hits"); err != nil {
		return err
	}
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
