package ui

import (
	"fmt"
	"net/http"
	"strings"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/store"
)

type modelsPage struct {
	Models   []api.Model
	Snapshot store.Snapshot
	Next     string
}

func (c *Console) models(v *visit) error {
	q := v.r.URL.Query()
	list, err := c.store.Models(v.r.Context(), q.Get("after"), pageSize+1)
	if err != nil {
		return err
	}
	p := modelsPage{Models: list}
	if len(list) > pageSize {
		p.Models, p.Next = list[:pageSize], nextQuery(q, list[pageSize-1].Name)
	}
	if p.Snapshot, err = c.store.LatestSnapshot(v.r.Context()); err != nil {
		return err
	}
	return c.render(v, http.StatusOK, "models", "Models", "models", p)
}

func (c *Console) modelsCSV(v *visit) error {
	head := []string{"model", "kind", "owner", "tier", "regulated", "version", "registered", "source", "artifact", "format", "size", "tensors", "parameters", "content digest"}
	return c.csv(v, "models", head, func(row func(...string) error) error {
		for after := ""; ; {
			list, err := c.store.Models(v.r.Context(), after, 200)
			if err != nil {
				return err
			}
			for _, m := range list {
				after = m.Name
				for _, x := range m.Versions {
					for _, a := range x.Artifacts {
						if err := row(m.Name, m.Kind, m.Owner, plain(m.Tier), plain(m.Regulated), x.Version, csvTime(x.Created), x.Source, a.Name, a.Format, plain(a.Size),
							plain(a.Tensors), plain(a.Parameters), a.Content); err != nil {
							return err
						}
					}
				}
			}
			if len(list) < 200 {
				return nil
			}
		}
	})
}

type modelPage struct {
	api.Model
	Hits    bool
	Permits []store.Authorisation
	Copies  []store.Copy
	Alerts  []store.Alert
	Map     hostMap
}

func (c *Console) model(v *visit) error {
	ctx := v.r.Context()
	m, err := c.store.Model(ctx, v.r.PathValue("name"))
	if err != nil {
		return err
	}
	p := modelPage{Model: m, Hits: v.who.May(auth.HitsRead)}
	if p.Permits, err = c.store.Authorisations(ctx, m.Name); err != nil {
		return err
	}
	if p.Hits {
		if p.Copies, err = c.store.CopyList(ctx, store.CopyFilter{Model: m.Name, Limit: 12}); err != nil {
			return err
		}
		if p.Alerts, err = c.store.Alerts(ctx, store.AlertFilter{Model: m.Name, State: "active", Limit: 8}); err != nil {
			return err
		}
		hosts, err := c.store.CopiesByHost(ctx, m.Name, mapHosts)
		if err != nil {
			return err
		}
		p.Map = mapOf(hosts)
	}
	return c.render(v, http.StatusOK, "model", m.Name, "models", p)
}

// mapHosts bounds the map of hosts.
const mapHosts = 400

// hostMap shows where copies of a model lie: one square for a host.
type hostMap struct {
	W, H  int
	Cells []hostCell
}

type hostCell struct {
	rect
	Name  label
	Count label
	Link  string
}

// mapOf puts hosts side by side, those with copies that nobody allowed first.
func mapOf(hosts []store.HostCopies) hostMap {
	const columns, w, h, gap = 8, 116, 46, 6
	m := hostMap{W: columns*(w+gap) - gap}
	for i, x := range hosts {
		left, top := float64(i%columns*(w+gap)), float64(i/columns*(h+gap))
		class, words := "f-ok", fmt.Sprintf("%d allowed", x.Authorised)
		if x.Unauthorised > 0 {
			class, words = "f-no", fmt.Sprintf("%d not allowed", x.Unauthorised)
			if x.Authorised > 0 {
				words += fmt.Sprintf(", %d ok", x.Authorised)
			}
		}
		m.Cells = append(m.Cells, hostCell{rect: rect{left, top, w, h, class, x.Host + ": " + words}, Name: label{left + 9, top + 19, shorten(x.Host, 15), "start"},
			Count: label{left + 9, top + 35, words, "start"}, Link: "/inventory?model=&host=" + urlText(x.Host)})
		m.H = int(top) + h
	}
	return m
}

type inventoryPage struct {
	Standings []store.Standing
	Copies    []store.Copy
	Filter    store.CopyFilter
	Active    bool
	Next      string
	CSV       string
}

func copyFilter(r *http.Request) store.CopyFilter {
	q := r.URL.Query()
	f := store.CopyFilter{Model: q.Get("model"), Host: q.Get("host"), Authorised: q.Get("authorised"), Text: q.Get("q")}
	if at, hit, ok := strings.Cut(q.Get("after"), "_"); ok {
		f.Before, f.BeforeHit = parseMicros(at), hit
	}
	return f
}

func (c *Console) inventory(v *visit) error {
	ctx := v.r.Context()
	f := copyFilter(v.r)
	p := inventoryPage{Filter: f, Active: f.Model+f.Host+f.Authorised+f.Text != "", CSV: csvLink(v.r)}
	f.Limit = pageSize + 1
	var err error
	if p.Copies, err = c.store.CopyList(ctx, f); err != nil {
		return err
	}
	if len(p.Copies) > pageSize {
		p.Copies = p.Copies[:pageSize]
		last := p.Copies[pageSize-1]
		p.Next = nextQuery(v.r.URL.Query(), fmt.Sprintf("%d_%s", last.LastSeen.UnixMicro(), last.LastHit))
	}
	if p.Standings, err = c.store.Reconcile(ctx); err != nil {
		return err
	}
	return c.render(v, http.StatusOK, "inventory", "Inventory", "inventory", p)
}

func (c *Console) inventoryCSV(v *visit) error {
	f := copyFilter(v.r)
	f.Limit = 1000
	head := []string{"host", "path", "model", "version", "verdict", "destination", "size", "user", "first seen", "last seen", "authorised by", "last hit"}
	return c.csv(v, "copies", head, func(row func(...string) error) error {
		for {
			list, err := c.store.CopyList(v.r.Context(), f)
			if err != nil {
				return err
			}
			for _, x := range list {
				if err := row(x.Host, x.Path, x.Model, x.Version, string(x.Verdict), x.DestClass, plain(x.Size), x.User, csvTime(x.FirstSeen), csvTime(x.LastSeen), x.Authorised, x.LastHit); err != nil {
					return err
				}
				f.Before, f.BeforeHit = x.LastSeen, x.LastHit
			}
			if len(list) < f.Limit {
				return nil
			}
		}
	})
}
