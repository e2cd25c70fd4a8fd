package ui

import (
	"context"
	"net/http"

	"weightwarden/internal/api"
	"weightwarden/server/store"
	"weightwarden/server/techniques"
)

// hitFilter reads a filter from an address.
func hitFilter(r *http.Request) store.HitFilter {
	q := r.URL.Query()
	return store.HitFilter{Before: q.Get("after"), Verdict: q.Get("verdict"), Model: q.Get("model"), Host: q.Get("host"), User: q.Get("user"),
		Agent: q.Get("agent"), Class: q.Get("destination"), Alert: q.Get("alert"), Text: q.Get("q"), Content: q.Get("content")}
}

type hitPage struct {
	store.Hit
	Chain      []api.Process // the process and its ancestors, eldest first
	Alert      *store.Alert
	Model      *api.Model
	Heat       chart
	Techniques []techniques.Technique
	History    []store.Hit // of files of this name on this machine
	Same       []store.Hit // the same content elsewhere
	Content    string
}

func (c *Console) hit(v *visit) error {
	h, err := c.store.Hit(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	p, err := c.hitView(v.r.Context(), h)
	if err != nil {
		return err
	}
	return c.render(v, http.StatusOK, "hit", string(h.Verdict)+" "+h.Model, "hits", p)
}

// hitView puts together what is known around a hit.
func (c *Console) hitView(ctx context.Context, h store.Hit) (*hitPage, error) {
	p := &hitPage{Hit: h, Heat: heatMap(h.Body.Verdict.Tensors), Techniques: techniques.For(techniques.OfHit(h.Body))}
	if h.Body.Process != nil {
		for i := len(h.Body.Process.Ancestors) - 1; i >= 0; i-- {
			p.Chain = append(p.Chain, h.Body.Process.Ancestors[i])
		}
		p.Chain = append(p.Chain, *h.Body.Process)
	}
	if h.AlertID != "" {
		if a, err := c.store.Alert(ctx, h.AlertID); err == nil {
			p.Alert = &a
		}
	}
	if m, err := c.store.Model(ctx, h.Model); err == nil {
		p.Model = &m
	}
	var err error
	if p.History, err = c.store.Hits(ctx, store.HitFilter{Agent: h.Agent, File: h.Path, Limit: 10}); err != nil {
		return nil, err
	}
	if d := h.Body.Verdict.Digests; d != nil && d.Content != "" && len(d.Content) <= 128 {
		p.Content = d.Content
		same, err := c.store.Hits(ctx, store.HitFilter{Content: d.Content, Limit: 12})
		if err != nil {
			return nil, err
		}
		for _, x := range same {
			if x.ID != h.ID && (x.Agent != h.Agent || x.Path != h.Path) {
				p.Same = append(p.Same, x)
			}
		}
	}
	return p, nil
}
