package ui

import (
	"net/http"

	"weightwarden/server/store"
)

type reconcilePage struct {
	List   []store.Difference
	Filter store.DifferenceFilter
	Next   string
	CSV    string
}

func differenceFilter(r *http.Request) store.DifferenceFilter {
	q := r.URL.Query()
	return store.DifferenceFilter{Kind: q.Get("kind"), Model: q.Get("model"), After: q.Get("after"), Unseen: store.UnseenAfter}
}

// reconcile shows where the registry, what is allowed and what agents saw differ.
func (c *Console) reconcile(v *visit) error {
	f := differenceFilter(v.r)
	f.Limit = pageSize
	list, next, err := c.store.Differences(v.r.Context(), f)
	if err != nil {
		return err
	}
	p := reconcilePage{List: list, Filter: f, CSV: csvLink(v.r)}
	if next != "" {
		p.Next = nextQuery(v.r.URL.Query(), next)
	}
	return c.render(v, http.StatusOK, "reconcile", "Differences", "inventory", p)
}

func (c *Console) reconcileCSV(v *visit) error {
	f := differenceFilter(v.r)
	f.After, f.Limit = "", 1000
	head := []string{"difference", "reason", "model", "version", "host", "path", "authorisation", "last hit", "since", "last seen", "agent heard"}
	return c.csv(v, "differences", head, func(row func(...string) error) error {
		for {
			list, next, err := c.store.Differences(v.r.Context(), f)
			if err != nil {
				return err
			}
			for _, x := range list {
				if err := row(x.Kind, x.Reason, x.Model, x.Version, x.Host, x.Path, x.Permit, x.Hit, csvTime(x.Since), csvTime(x.LastSeen), plain(!x.Unobserved)); err != nil {
					return err
				}
			}
			if f.After = next; next == "" {
				return nil
			}
		}
	})
}
