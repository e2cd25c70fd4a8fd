package ui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"weightwarden/server/auth"
	"weightwarden/server/store"
	"weightwarden/server/techniques"
)

type alertsPage struct {
	Alerts  []store.Alert
	Counts  [5]int
	Filter  store.AlertFilter
	State   string // as in the address
	Sort    string
	Active  bool // something is filtered
	Next    string
	Total   int
	Capped  bool
	Views   viewBar
	CSV     string
	Words   []string
	Classes []string
	May     bool // change alerts
}

var errSeverity = inputError("severity: want critical, high, medium or low")

// alertFilter reads a filter from an address.
func alertFilter(r *http.Request) (store.AlertFilter, error) {
	q := r.URL.Query()
	f := store.AlertFilter{State: q.Get("state"), Model: q.Get("model"), Host: q.Get("host"), User: q.Get("user"), Owner: q.Get("owner"), Case: q.Get("case"), Verdict: q.Get("verdict"),
		Class: q.Get("destination"), Text: q.Get("q"), Worst: q.Get("sort") != "newest"}
	switch f.State {
	case "":
		f.State = "active"
	case "all":
		f.State = ""
	}
	if name := q.Get("severity"); name != "" {
		if f.Severity = slices.Index([]string{"", "critical", "high", "medium", "low"}, name); f.Severity < 1 {
			return f, errSeverity
		}
	}
	after := q.Get("after")
	if severity, id, ok := strings.Cut(after, ":"); ok && f.Worst {
		n, err := strconv.Atoi(severity)
		if err != nil {
			return f, inputError("after: not an address of this console")
		}
		f.After, f.Before = n, id
	} else {
		f.Before = after
	}
	return f, nil
}

func (c *Console) alerts(v *visit) error {
	ctx, q := v.r.Context(), v.r.URL.Query()
	f, err := alertFilter(v.r)
	if err != nil {
		return err
	}
	f.Limit = pageSize + 1
	list, err := c.store.Alerts(ctx, f)
	if err != nil {
		return err
	}
	p := alertsPage{Alerts: list, Filter: f, State: q.Get("state"), Sort: q.Get("sort"), CSV: csvLink(v.r), Classes: classes(), May: v.who.May(auth.AlertsWrite),
		Active: f.Model+f.Host+f.User+f.Owner+f.Verdict+f.Class+f.Text+f.Case != "" || f.Severity > 0}
	for _, w := range hitWords() {
		p.Words = append(p.Words, string(w))
	}
	if len(list) > pageSize {
		last := list[pageSize-1]
		p.Alerts, p.Next = list[:pageSize], nextQuery(q, last.ID)
		if f.Worst {
			p.Next = nextQuery(q, fmt.Sprintf("%d:%s", last.Severity, last.ID))
		}
	}
	if p.Counts, err = c.store.AlertCounts(ctx); err != nil {
		return err
	}
	if f.Before = ""; f.Text == "" { // a look for text within goes over every alert: once is enough
		if p.Total, err = c.store.CountAlerts(ctx, f, countCap); err != nil {
			return err
		}
	}
	p.Capped = p.Total == countCap
	if p.Views, err = c.views(v, "/alerts"); err != nil {
		return err
	}
	return c.render(v, http.StatusOK, "alerts", "Alerts", "alerts", p)
}

type alertPage struct {
	store.Alert
	Hit        *hitPage
	Seen       []store.Hit // hits of the alert, newest first
	Techniques []techniques.Technique
	Similar    []similar
	May        bool
}

// similar are other alerts that share something.
type similar struct {
	What, Link string
	Alerts     []store.Alert
}

func (c *Console) alert(v *visit) error {
	ctx := v.r.Context()
	a, err := c.store.Alert(ctx, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	p := alertPage{Alert: a, May: v.who.May(auth.AlertsWrite), Techniques: techniques.For(a.Facts())}
	if p.Seen, err = c.store.Hits(ctx, store.HitFilter{Alert: a.ID, Limit: 40}); err != nil {
		return err
	}
	h, err := c.store.Hit(ctx, worst(p.Seen, a.LastHit))
	switch {
	case errors.Is(err, store.ErrNotFound): // purged: the alert outlives its hits
	case err != nil:
		return err
	default:
		if p.Hit, err = c.hitView(ctx, h); err != nil {
			return err
		}
		p.Techniques = techniques.For(withCount(techniques.OfHit(h.Body), a.Hits))
	}
	if p.Similar, err = c.similarAlerts(ctx, a); err != nil {
		return err
	}
	title := fmt.Sprintf("%s %s on %s", strings.ToLower(string(a.Verdict)), a.Model, a.Host)
	return c.render(v, http.StatusOK, "alert", title, "alerts", p)
}

func withCount(f techniques.Facts, n int64) techniques.Facts {
	f.Hits = n
	return f
}

// worst is the hit with the most of the model in it, the newest of several.
func worst(hits []store.Hit, otherwise string) string {
	best := -1.0
	for _, h := range hits {
		if h.Coverage > best {
			best, otherwise = h.Coverage, h.ID
		}
	}
	return otherwise
}

func (c *Console) similarAlerts(ctx context.Context, a store.Alert) ([]similar, error) {
	var out []similar
	for _, s := range []struct {
		what, link string
		f          store.AlertFilter
	}{
		{"The same user", "/alerts?state=all&user=" + urlText(a.User), store.AlertFilter{User: a.User}},
		{"The same host", "/alerts?state=all&host=" + urlText(a.Host), store.AlertFilter{Host: a.Host}},
		{"The same model", "/alerts?state=all&model=" + urlText(a.Model), store.AlertFilter{Model: a.Model}},
	} {
		if s.f.User+s.f.Host+s.f.Model == "" {
			continue
		}
		s.f.Limit = 5
		list, err := c.store.Alerts(ctx, s.f)
		if err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(list, func(x store.Alert) bool { return x.ID == a.ID })
		out = append(out, similar{s.what, s.link, list[:min(len(list), 4)]})
	}
	return out, nil
}

// maxBulk bounds how many alerts one form changes.
const maxBulk = 500

// changeAlerts does with one alert or several what a form asks for.
func (c *Console) changeAlerts(v *visit) error {
	if err := v.r.ParseForm(); err != nil {
		return inputError("the form cannot be read")
	}
	ids := v.r.PostForm["id"]
	if id := v.r.PathValue("id"); id != "" {
		ids = []string{id}
	}
	if len(ids) == 0 || len(ids) > maxBulk {
		return inputError(fmt.Sprintf("select 1 to %d alerts; %d are", maxBulk, len(ids)))
	}
	change, err := readChange(v)
	if err != nil {
		return err
	}
	if _, err := c.store.ChangeAlerts(v.r.Context(), v.who.Actor, ids, change); err != nil {
		return err
	}
	return c.back(v, v.r.PostFormValue("back"))
}

// readChange reads what a form asks for: "take", "acknowledge", "close", "reopen".
func readChange(v *visit) (store.AlertChange, error) {
	var c store.AlertChange
	state, me := "", v.who.Name
	note := strings.TrimSpace(v.r.PostFormValue("note"))
	if len(note) > 10_000 {
		return c, inputError("the note is longer than 10 000 bytes")
	}
	if note != "" {
		c.Note = &note
	}
	switch do := v.r.PostFormValue("do"); do {
	case "take":
		state, c.Owner = store.AlertAcknowledged, &me
	case "acknowledge":
		state = store.AlertAcknowledged
	case "reopen":
		state = store.AlertOpen
		none := ""
		c.Resolution = &none
	case "close":
		state = store.AlertClosed
		r := v.r.PostFormValue("resolution")
		if !slices.Contains(resolutions(), r) {
			return c, inputError("say what it was: " + strings.Join(resolutions(), ", "))
		}
		c.Resolution = &r
	case "note":
		if note == "" {
			return c, inputError("the note is empty")
		}
		return c, nil
	default:
		return c, inputError("choose what to do with them")
	}
	c.State = &state
	return c, nil
}

func resolutions() []string { return []string{"true_positive", "false_positive", "authorised", "test"} }

func techniqueIDs(a store.Alert) string {
	var ids []string
	for _, t := range techniques.For(a.Facts()) {
		ids = append(ids, t.Framework+" "+t.Version+" "+t.ID)
	}
	return strings.Join(ids, "; ")
}

// navigator answers with a layer for the ATT&CK Navigator.
func (c *Console) navigator(v *visit) error {
	var tally techniques.Tally
	err := c.store.EachAlert(v.r.Context(), store.AlertFilter{}, func(a store.Alert) error {
		tally.Add(techniques.For(a.Facts()))
		return nil
	})
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "application/json")
	v.w.Header().Set("Content-Disposition", `attachment; filename="weightwarden-navigator.json"`)
	return json.NewEncoder(v.w).Encode(techniques.Navigator(&tally, time.Now()))
}
