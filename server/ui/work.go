package ui

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"weightwarden/server/auth"
	"weightwarden/server/store"
)

type sweepsPage struct {
	Sweeps []store.Sweep
	May    bool
}

func (c *Console) sweeps(v *visit) error {
	list, err := c.store.Sweeps(v.r.Context(), 100)
	if err != nil {
		return err
	}
	return c.render(v, http.StatusOK, "sweeps", "Sweeps", "sweeps", sweepsPage{list, v.who.May(auth.SweepsWrite)})
}

func (c *Console) sweepsCSV(v *visit) error {
	head := []string{"id", "model", "paths", "ordered", "by", "ends", "agents", "asked", "done", "files"}
	return c.csv(v, "sweeps", head, func(row func(...string) error) error {
		list, err := c.store.Sweeps(v.r.Context(), csvRows)
		if err != nil {
			return err
		}
		for _, s := range list {
			if err := row(s.ID, s.Model, strings.Join(s.Paths, " "), csvTime(s.Created), s.CreatedBy, csvTime(s.Ends), plain(s.Agents), plain(s.Asked), plain(s.Done), plain(s.Files)); err != nil {
				return err
			}
		}
		return nil
	})
}

type sweepPage struct {
	store.Sweep
	Missed []store.Agent
	Over   bool
	Found  []store.Hit
}

func (c *Console) sweep(v *visit) error {
	ctx := v.r.Context()
	s, err := c.store.Sweep(ctx, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	p := sweepPage{Sweep: s, Over: time.Now().After(s.Ends)}
	if p.Missed, err = c.store.Missed(ctx, s.ID, 200); err != nil {
		return err
	}
	if v.who.May(auth.HitsRead) {
		if p.Found, err = c.store.Hits(ctx, store.HitFilter{Model: s.Model, Since: s.Created, Until: s.Ends.Add(time.Hour), Limit: 20}); err != nil {
			return err
		}
	}
	return c.render(v, http.StatusOK, "sweep", "Sweep", "sweeps", p)
}

func (c *Console) addSweep(v *visit) error {
	hours, err := strconv.Atoi(v.r.PostFormValue("hours"))
	if err != nil || hours < 1 || hours > 720 {
		return inputError("want 1 to 720 hours")
	}
	model := strings.TrimSpace(v.r.PostFormValue("model"))
	if len(model) > 128 {
		return inputError("a model's name has at most 128 bytes")
	}
	paths := []string{}
	for line := range strings.Lines(v.r.PostFormValue("paths")) {
		if line = strings.TrimSpace(line); line != "" {
			paths = append(paths, line)
		}
		if len(line) > 4096 || strings.ContainsRune(line, 0) || len(paths) > 64 {
			return inputError("want at most 64 paths of at most 4096 bytes")
		}
	}
	id, err := c.store.AddSweep(v.r.Context(), v.who.Actor, model, paths, time.Now().Add(time.Duration(hours)*time.Hour))
	if err != nil {
		return err
	}
	return c.back(v, "/sweeps/"+id)
}

type policiesPage struct {
	Set    store.PolicySet
	Agents map[string]int // by policy
	None   int
}

func (c *Console) policies(v *visit) error {
	ctx := v.r.Context()
	set, err := c.store.Policies(ctx)
	if err != nil {
		return err
	}
	p := policiesPage{Set: set, Agents: map[string]int{}}
	groups, err := c.store.AgentLabels(ctx)
	if err != nil {
		return err
	}
	for _, g := range groups {
		labels := map[string]string{}
		if err := json.Unmarshal([]byte(g.Name), &labels); err != nil {
			return fmt.Errorf("labels: %w", err)
		}
		if best := set.For(labels); best != nil {
			p.Agents[best.Name] += g.Count
		} else {
			p.None += g.Count
		}
	}
	return c.render(v, http.StatusOK, "policies", "Policies", "policies", p)
}

func (c *Console) policiesCSV(v *visit) error {
	set, err := c.store.Policies(v.r.Context())
	if err != nil {
		return err
	}
	head := []string{"name", "selector", "priority", "version", "rules", "note", "changed"}
	return c.csv(v, "policies", head, func(row func(...string) error) error {
		for _, p := range set.Policies {
			var selector []string
			for _, k := range slices.Sorted(maps.Keys(p.Selector)) {
				selector = append(selector, k+"="+p.Selector[k])
			}
			if err := row(p.Name, strings.Join(selector, " "), plain(p.Priority), plain(p.Version), strings.Join(ruleText(p), "; "), p.Note, csvTime(p.Created)); err != nil {
				return err
			}
		}
		return nil
	})
}

type policyPage struct {
	Name     string
	Versions []store.Policy
	May      bool
}

func (c *Console) policy(v *visit) error {
	list, err := c.store.PolicyVersions(v.r.Context(), v.r.PathValue("name"))
	if err != nil {
		return err
	}
	return c.render(v, http.StatusOK, "policy", list[0].Name, "policies", policyPage{list[0].Name, list, v.who.May(auth.PolicyWrite)})
}

func (c *Console) rollbackPolicy(v *visit) error {
	name := v.r.PathValue("name")
	version, err := strconv.ParseInt(v.r.PostFormValue("version"), 10, 64)
	if err != nil {
		return inputError("choose a version")
	}
	if _, err := c.store.RollbackPolicy(v.r.Context(), v.who.Actor, name, version); err != nil {
		return err
	}
	return c.back(v, "/policies/"+name)
}

func ruleText(p store.Policy) []string {
	r := p.Rules
	var out []string
	add := func(words string, list []string) {
		if len(list) > 0 {
			out = append(out, words+" "+strings.Join(list, ", "))
		}
	}
	if len(r.Verdicts) > 0 {
		where := "wherever they lie"
		if len(r.Destinations) > 0 {
			where = "on " + strings.Join(r.Destinations, ", ")
		}
		out = append(out, "moves aside "+strings.Join(r.Verdicts, ", ")+" "+where)
	}
	if r.Block {
		out = append(out, "blocks the opening of copies")
	}
	add("locks down", r.Lockdown)
	add("lets copies lie in", r.AllowPaths)
	add("lets open copies:", r.AllowPrograms)
	if len(out) == 0 {
		out = append(out, "tells of copies and touches nothing")
	}
	return out
}
