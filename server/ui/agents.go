package ui

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"weightwarden/server/auth"
	"weightwarden/server/store"
)

type agentsPage struct {
	Agents []store.Agent
	Latest int64
	Fleet  store.FleetSummary
	Filter store.AgentFilter
	Shows  []string
	Next   string
	CSV    string
}

func (c *Console) agentFilter(v *visit) (store.AgentFilter, error) {
	q := v.r.URL.Query()
	snap, err := c.store.LatestSnapshot(v.r.Context())
	return store.AgentFilter{After: q.Get("after"), Show: q.Get("show"), Host: q.Get("host"), Epoch: snap.Epoch}, err
}

func (c *Console) agents(v *visit) error {
	f, err := c.agentFilter(v)
	if err != nil {
		return err
	}
	p := agentsPage{Filter: f, Latest: f.Epoch, CSV: csvLink(v.r), Shows: []string{"active", "silent", "gaps", "faults", "behind", "cloned", "revoked"}}
	f.Limit = pageSize + 1
	list, err := c.store.AgentList(v.r.Context(), f)
	if err != nil {
		return err
	}
	p.Agents = list
	if len(list) > pageSize {
		p.Agents, p.Next = list[:pageSize], nextQuery(v.r.URL.Query(), list[pageSize-1].ID)
	}
	if p.Fleet, err = c.store.Fleet(v.r.Context()); err != nil {
		return err
	}
	return c.render(v, http.StatusOK, "agents", "Agents", "agents", p)
}

func (c *Console) agentsCSV(v *visit) error {
	f, err := c.agentFilter(v)
	if err != nil {
		return err
	}
	f.Limit, f.After = 1000, ""
	head := []string{"id", "host", "os", "arch", "labels", "state", "reason", "version", "enrolled", "heard", "certificate until", "snapshot", "policy", "waiting", "lost", "gaps", "problems"}
	return c.csv(v, "agents", head, func(row func(...string) error) error {
		for {
			list, err := c.store.AgentList(v.r.Context(), f)
			if err != nil {
				return err
			}
			for _, a := range list {
				f.After = a.ID
				if err := row(a.ID, a.Host, a.OS, a.Arch, labelText(a.Labels), a.State, a.StateReason, a.Version, csvTime(a.Enrolled), csvTime(a.Seen), csvTime(a.CertExpires), plain(a.Snapshot),
					plain(a.Policy), plain(a.Pending), plain(a.Lost), plain(a.Gaps), plain(a.Problems)); err != nil {
					return err
				}
			}
			if len(list) < f.Limit {
				return nil
			}
		}
	})
}

// labelText is labels as "role=gpu site=hall".
func labelText(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	return strings.Join(out, " ")
}

type agentPage struct {
	store.Agent
	Silent bool
	Latest int64
	Policy *store.Policy
	May    bool
	Hits   []store.Hit
	Copies []store.Copy
}

func (c *Console) agent(v *visit) error {
	ctx := v.r.Context()
	a, err := c.store.Agent(ctx, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	p := agentPage{Agent: a, Silent: time.Since(a.Seen) > store.SilentAfter, May: v.who.May(auth.AgentsWrite)}
	snap, err := c.store.LatestSnapshot(ctx)
	if err != nil {
		return err
	}
	p.Latest = snap.Epoch
	set, err := c.store.Policies(ctx)
	if err != nil {
		return err
	}
	p.Policy = set.For(a.Labels)
	if v.who.May(auth.HitsRead) {
		if p.Hits, err = c.store.Hits(ctx, store.HitFilter{Agent: a.ID, Limit: 8}); err != nil {
			return err
		}
		if p.Copies, err = c.store.CopyList(ctx, store.CopyFilter{Host: a.Host, Authorised: "no", Limit: 8}); err != nil {
			return err
		}
	}
	return c.render(v, http.StatusOK, "agent", a.Host, "agents", p)
}

// setAgentState revokes an agent or lets it in again.
func (c *Console) setAgentState(v *visit) error {
	id, state, reason := v.r.PathValue("id"), v.r.PostFormValue("state"), strings.TrimSpace(v.r.PostFormValue("reason"))
	if state != store.AgentRevoked && state != store.AgentActive {
		return inputError("want the state revoked or active")
	}
	if reason == "" || len(reason) > 1000 {
		return inputError("say why, in at most 1000 bytes")
	}
	if err := c.store.SetAgentState(v.r.Context(), v.who.Actor, id, state, reason); err != nil {
		return err
	}
	return c.back(v, "/agents/"+id)
}
