package server

import (
	"encoding/csv"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/store"
)

// signedIn is a browser with a session, and its CSRF token.
func (r *running) signedIn(t *testing.T, token string) (*http.Client, string) {
	t.Helper()
	c := r.browse(t)
	r.post(t, c, "/login", url.Values{"token": {token}})
	_, _, body := r.send(t, c, "", "GET", "/models", nil)
	csrf := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindSubmatch(body)
	if csrf == nil {
		t.Fatalf("no session: %.300s", body)
	}
	return c, string(csrf[1])
}

// alerts makes n alerts, each of another user.
func (r *running) alerts(t *testing.T, n int) []api.AlertInfo {
	t.Helper()
	id, agent := r.agent(t)
	var batch api.HitBatch
	for i := range n {
		h := sampleHit(id, uint64(i+1))
		h.User.Name = "user-" + string(rune('a'+i))
		batch.Hits = append(batch.Hits, h)
	}
	if status, _, out := r.send(t, agent, "", "POST", api.PathHits, batch); status != http.StatusOK {
		t.Fatalf("%d %s", status, out)
	}
	return must[api.List[api.AlertInfo]](t, r, "GET", "/v1/alerts", nil).Items
}

func TestBulkActionsOnAlerts(t *testing.T) {
	r := start(t)
	list := r.alerts(t, 3)
	c, csrf := r.signedIn(t, r.token)
	form := func(change url.Values) int {
		change.Set("csrf", csrf)
		change.Set("back", "/alerts?state=all")
		return r.post(t, c, "/alerts/bulk", change).StatusCode
	}
	two := []string{list[0].ID, list[1].ID, "not-there"}
	if got := form(url.Values{"id": two, "do": {"take"}}); got != http.StatusSeeOther {
		t.Errorf("take: %d", got)
	}
	if got := form(url.Values{"id": two[:1], "do": {"close"}, "resolution": {"test"}, "note": {"drill"}}); got != http.StatusSeeOther {
		t.Errorf("close: %d", got)
	}
	for name, bad := range map[string]url.Values{"nothing selected": {"do": {"take"}}, "no such action": {"id": two, "do": {"burn"}}, "no resolution": {"id": two, "do": {"close"}}, "an empty note": {"id": two, "do": {"note"}}} {
		if got := form(bad); got != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", name, got)
		}
	}
	states := map[string]string{}
	for _, a := range must[api.List[api.AlertInfo]](t, r, "GET", "/v1/alerts", nil).Items {
		states[a.ID] = a.State + " " + a.Owner + " " + a.Resolution
	}
	if states[list[0].ID] != "closed first administrator test" || states[list[1].ID] != "acknowledged first administrator " || states[list[2].ID] != "open  " {
		t.Errorf("%v", states)
	}
	reader := must[api.TokenAnswer](t, r, "POST", "/v1/tokens", api.TokenRequest{Name: "r", Roles: []string{"reader"}})
	c2, csrf2 := r.signedIn(t, reader.Token)
	if resp := r.post(t, c2, "/alerts/bulk", url.Values{"csrf": {csrf2}, "id": two, "do": {"take"}}); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a reader: %d", resp.StatusCode)
	}
}

// The queue goes through every alert once, worst first, whatever is in it.
func TestAlertQueuePagesWorstFirst(t *testing.T) {
	r := start(t)
	list := r.alerts(t, 9)
	low := store.SeverityLow
	for _, a := range list[:4] {
		if err := r.store.ChangeAlert(t.Context(), store.ServerActor(), a.ID, store.AlertChange{Severity: &low}); err != nil {
			t.Fatal(err)
		}
	}
	f := store.AlertFilter{State: "active", Worst: true, Limit: 2}
	var seen []string
	last := 0
	for {
		page, err := r.store.Alerts(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page {
			if a.Severity < last {
				t.Errorf("severity %d after %d", a.Severity, last)
			}
			last = a.Severity
			seen = append(seen, a.ID)
		}
		if len(page) < 2 {
			break
		}
		f.After, f.Before = page[1].Severity, page[1].ID
	}
	if len(seen) != 9 {
		t.Errorf("saw %d of 9: %v", len(seen), seen)
	}
}

func TestSavedViews(t *testing.T) {
	r := start(t)
	c, csrf := r.signedIn(t, r.token)
	save := func(page, name, query string) int {
		return r.post(t, c, "/views", url.Values{"csrf": {csrf}, "page": {page}, "name": {name}, "query": {query}}).StatusCode
	}
	if got := save("/alerts", "night <shift>", "severity=critical&after=3:x&host="); got != http.StatusSeeOther {
		t.Fatalf("%d", got)
	}
	if got := save("//evil.example", "x", ""); got != http.StatusUnprocessableEntity {
		t.Errorf("a page elsewhere: %d", got)
	}
	_, _, body := r.send(t, c, "", "GET", "/alerts?severity=critical", nil)
	link := regexp.MustCompile(`href="(/alerts\?severity=critical)" aria-current="page">night &lt;shift&gt;`)
	if !link.Match(body) {
		t.Errorf("the view is not shown as the current one")
	}
	id := regexp.MustCompile(`/views/([0-9a-f-]+)/delete`).FindSubmatch(body)
	other := must[api.TokenAnswer](t, r, "POST", "/v1/tokens", api.TokenRequest{Name: "o", Roles: []string{"analyst"}})
	c2, csrf2 := r.signedIn(t, other.Token)
	r.post(t, c2, "/views/"+string(id[1])+"/delete", url.Values{"csrf": {csrf2}, "page": {"/alerts"}})
	if _, _, body := r.send(t, c2, "", "GET", "/alerts", nil); strings.Contains(string(body), "shift") {
		t.Error("somebody else sees the view")
	}
	if _, _, body := r.send(t, c, "", "GET", "/alerts", nil); !strings.Contains(string(body), "shift") {
		t.Error("somebody else deleted the view")
	}
	r.post(t, c, "/views/"+string(id[1])+"/delete", url.Values{"csrf": {csrf}, "page": {"/alerts"}})
	if _, _, body := r.send(t, c, "", "GET", "/alerts", nil); strings.Contains(string(body), "shift") {
		t.Error("the view is still there")
	}
}

// Tables for spreadsheets hold no formula, no control character and no endless cell.
func TestTablesForSpreadsheets(t *testing.T) {
	r := start(t)
	id, agent := r.agent(t)
	h := sampleHit(id, 1)
	h.User.Name, h.Verdict.Path, h.Process.Name = "=cmd|' /C calc'!A0", "+1\t\x1b\u202e"+strings.Repeat("B", 60000), "\uff1d1+1"
	if status, _, out := r.send(t, agent, "", "POST", api.PathHits, api.HitBatch{Hits: []api.Hit{h}}); status != http.StatusOK {
		t.Fatalf("%d %s", status, out)
	}
	c, _ := r.signedIn(t, r.token)
	for _, page := range []string{"/hits.csv", "/alerts.csv?state=all"} {
		status, kind, body := r.send(t, c, "", "GET", page, nil)
		if status != http.StatusOK || !strings.HasPrefix(kind, "text/csv") {
			t.Fatalf("%s: %d %s", page, status, kind)
		}
		rows, err := csv.NewReader(strings.NewReader(string(body))).ReadAll()
		if err != nil || len(rows) != 2 {
			t.Fatalf("%s: %d rows, %v", page, len(rows), err)
		}
		for _, cell := range rows[1] {
			if strings.ContainsAny(cell, "\t\x1b\u202e\r\n") || len(cell) > 20000 {
				t.Errorf("%s: cell %.80q", page, cell)
			}
			if cell != "" && strings.ContainsRune("=+-@\uff1d", []rune(cell)[0]) {
				t.Errorf("%s: a formula: %.80q", page, cell)
			}
		}
	}
}

// Every page of the fortnight is there, whole and linked: the links of each page lead
// to pages that answer.
func TestEveryPageAndLinkOfTheDemoAnswers(t *testing.T) {
	r := startIn(t, demo(t, time.Now()))
	c, _ := r.signedIn(t, r.token)
	link := regexp.MustCompile(`(?:href|action|hx-get)="(/[^"#]*)"`)
	seen, todo, byPath := map[string]bool{}, []string{"/", "/search?q=ws-", "/search?q=WW-3", "/search?q=" + strings.Repeat("x", 399), "/audit?before=60", "/agents?show=silent"}, map[string]int{}
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		// A few of each kind are enough: /hits/ID, not all of them.
		kind := regexp.MustCompile(`[0-9a-f-]{36}|=[^&]*|/[0-9]+$`).ReplaceAllString(at, "")
		if byPath[kind]++; seen[at] || byPath[kind] > 3 || strings.HasPrefix(at, "/static/") {
			continue
		}
		seen[at] = true
		status, mime, body := r.send(t, c, "", "GET", at, nil)
		if status == http.StatusMethodNotAllowed || strings.HasSuffix(at, "/delete") || at == "/logout" {
			continue // forms
		}
		if status != http.StatusOK {
			if strings.HasPrefix(at, "/alerts/bulk") || strings.HasPrefix(at, "/audit/check") || strings.Contains(at, "/revoke") || strings.HasSuffix(at, "/end") || strings.HasSuffix(at, "/state") || strings.HasSuffix(at, "/rollback") || at == "/views" || at == "/settings/accounts" {
				continue // forms, whose address reads as that of a page
			}
			t.Errorf("%s: %d", at, status)
			continue
		}
		if !strings.HasPrefix(mime, "text/html") {
			continue
		}
		text := string(body)
		if strings.Contains(text, "ZgotmplZ") || strings.Contains(text, "&lt;nil&gt;") || strings.Contains(text, "%!") || !strings.HasSuffix(strings.TrimSpace(text), "</html>") {
			t.Errorf("%s is not whole", at)
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			todo = append(todo, strings.ReplaceAll(m[1], "&amp;", "&"))
		}
	}
	for _, want := range []string{"/alerts", "/hits", "/models", "/inventory", "/reconcile", "/reconcile.csv", "/agents", "/sweeps", "/policies", "/policies.csv", "/audit", "/settings", "/alerts.csv?", "/navigator.json"} {
		found := false
		for at := range seen {
			found = found || strings.HasPrefix(at, want)
		}
		if !found {
			t.Errorf("no link leads to %s", want)
		}
	}
	if len(seen) < 60 {
		t.Errorf("only %d pages seen", len(seen))
	}
}

// Roles see what they may and nothing else.
func TestPagesByRole(t *testing.T) {
	r := startIn(t, demo(t, time.Now()))
	for role, pages := range map[string]map[string]int{
		"reader":    {"/": 200, "/alerts": 200, "/inventory": 200, "/agents": 200, "/audit": 403, "/settings": 403, "/search?q=aurora": 200},
		"auditor":   {"/": 200, "/alerts": 403, "/audit": 200, "/inventory": 403, "/alerts.csv": 403, "/search?q=ws": 200, "/models/aurora-7b": 200},
		"registrar": {"/models": 200, "/agents": 403, "/hits.csv": 403, "/reconcile": 403, "/": 303, "/navigator.json": 403},
		"analyst":   {"/": 200, "/alerts": 200, "/settings": 403, "/policies": 200},
	} {
		token := must[api.TokenAnswer](t, r, "POST", "/v1/tokens", api.TokenRequest{Name: role, Roles: []string{role}})
		c, _ := r.signedIn(t, token.Token)
		for page, want := range pages {
			status, _, body := r.send(t, c, "", "GET", page, nil)
			if status != want {
				t.Errorf("%s on %s: %d, want %d", role, page, status, want)
			}
			if role == "auditor" && strings.Contains(string(body), "y.mori") {
				t.Errorf("%s shows hits to an auditor", page)
			}
		}
	}
}

// A case is found by its reference; whoever may not read cases finds none.
func TestSearchFindsCases(t *testing.T) {
	r := startIn(t, demo(t, time.Now()))
	c, _ := r.signedIn(t, r.token)
	if _, _, body := r.send(t, c, "", "GET", "/search?q=ww-3", nil); !strings.Contains(string(body), "<b>WW-3</b>") {
		t.Error("WW-3 is not found")
	}
	auditor := must[api.TokenAnswer](t, r, "POST", "/v1/tokens", api.TokenRequest{Name: "auditor", Roles: []string{"auditor"}})
	c, _ = r.signedIn(t, auditor.Token)
	if _, _, body := r.send(t, c, "", "GET", "/search?q=ww-3", nil); strings.Contains(string(body), "<b>WW-3</b>") {
		t.Error("an auditor finds WW-3")
	}
}
