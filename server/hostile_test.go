package server

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"weightwarden/internal/api"
	"weightwarden/internal/policy"
	"weightwarden/server/cases"
	"weightwarden/server/export"
	"weightwarden/server/store"
)

// evil is what somebody would call a file to take over the console, a terminal, a
// spreadsheet or a SIEM: markup, quotes, line breaks, control and direction
// characters, a formula, and 64 KiB of it.
func evil() string {
	return "=cmd|' /C calc'!A0<script>alert(1)</script><img src=x onerror=alert(2)>\"'`&{{.}}\r\nCEF:0|a|b|c|d|e|10|act=none\x1b[31m\u202e\u2066\u0007|" + strings.Repeat("A", 64<<10)
}

// fillText puts text into every string below v that can be set, and one element into
// every empty list.
func fillText(v reflect.Value, text string, depth int) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			v.SetString(text)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			fillText(v.Field(i), text, depth)
		}
	case reflect.Slice:
		if v.Len() == 0 && depth < 4 && v.Type().Elem().Kind() != reflect.Uint8 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			fillText(v.Index(i), text, depth+1)
		}
	case reflect.Pointer:
		if v.IsNil() && v.Type().Elem().Kind() == reflect.Struct && v.Type().Elem() != reflect.TypeFor[time.Time]() && depth < 4 {
			v.Set(reflect.New(v.Type().Elem()))
		}
		if !v.IsNil() {
			fillText(v.Elem(), text, depth+1)
		}
	}
}

// hostileServer is a server into which hostile text went wherever somebody can write.
func hostileServer(t *testing.T) (*running, string) {
	t.Helper()
	r := start(t)
	id, agent := r.agent(t)
	text := evil()
	for seq := range uint64(3) {
		h := sampleHit(id, seq+1)
		fillText(reflect.ValueOf(&h).Elem(), text, 0)
		h.AgentID, h.Epoch, h.Verdict.Kind = id, "e", api.KindProtected
		h.Verdict.Tensors[0].Registered = "layers.0." + text
		h.Verdict.Tensors = append(h.Verdict.Tensors, api.TensorMatch{Registered: "layers.1.<img src=x>", Suspect: text})
		if status, _, out := r.send(t, agent, "", "POST", api.PathHits, api.HitBatch{Hits: []api.Hit{h}}); status != http.StatusOK {
			t.Fatalf("hit: %d %.300s", status, out)
		}
	}
	var hb api.Heartbeat
	fillText(reflect.ValueOf(&hb).Elem(), text, 0)
	hb.Host.Machine, hb.SentAt = "m", time.Now()
	if status, _, out := r.send(t, agent, "", "POST", api.PathHeartbeat, hb); status != http.StatusOK {
		t.Fatalf("heartbeat: %d %.300s", status, out)
	}
	ctx, by := t.Context(), store.Actor{Kind: "user", ID: text, Name: text, Remote: text}
	short := text[:4000]
	alert := must[api.List[api.AlertInfo]](t, r, "GET", "/v1/alerts", nil).Items[0]
	for _, err := range []error{
		r.store.ChangeAlert(ctx, by, alert.ID, store.AlertChange{Note: &text, Owner: &short}),
		r.store.PutModel(ctx, by, api.Model{Name: "m", Kind: api.KindProtected, Owner: text, Note: text}),
		r.store.SaveView(ctx, "x", store.View{Page: "/alerts", Name: short[:60], Query: short}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	hostileCase(t, r, by, alert.ID)
	sweep, err := r.store.AddSweep(ctx, by, short[:100], []string{text}, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.PutPolicy(ctx, by, store.Policy{Name: "p", Note: text, Selector: map[string]string{short[:60]: short}, Rules: policy.Rules{AllowPaths: []string{"/" + short}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.AddHold(ctx, by, store.Hold{Kind: store.HoldUser, Ref: short, Reason: text}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.AddAuthorisation(ctx, by, store.Authorisation{Model: "m", Host: short[:40], Reason: text, Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.AddToken(ctx, by, store.Token{Name: text, Roles: []string{"reader"}}, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	return r, sweep
}

// hostileCase writes hostile text into a case wherever one may.
func hostileCase(t *testing.T, r *running, by store.Actor, alert string) {
	t.Helper()
	ctx, text, line := t.Context(), evil(), evil()[:4000]
	id, err := r.store.OpenCase(ctx, by, r.playbook, store.NewCase{Title: text, Severity: 1, TLP: "RED", Subject: text + "s", Alerts: []string{alert}})
	if err != nil {
		t.Fatal(err)
	}
	yes, prose := true, text[:20_000]
	for _, a := range []cases.Action{{Do: "take"}, {Do: "fact", Fact: "insider", True: &yes, Reason: line}, {Do: "actor", Value: "external", Reason: line}, {Do: "note", Text: prose},
		{Do: "task", Task: "triage.identity", Value: "done", Proof: line}, {Do: "add_task", Phase: "contain", Text: prose}, {Do: "write", Summary: &prose, RootCause: &prose, Lessons: &prose},
		{Do: "decide", Row: "impact", Text: prose, Reason: line, Minutes: 9}} {
		if err := r.store.ChangeCase(ctx, by, r.playbook, store.ActionChange(id, 0, &a)); err != nil {
			t.Fatalf("%s: %v", a.Do, err)
		}
	}
	for _, err := range []error{
		r.store.AddObservable(ctx, by, id, cases.Observable{Type: "file", Value: text, Source: text, Note: text}),
		r.store.AddCustody(ctx, by, id, cases.Custody{Action: "stored", Item: text, To: text, Purpose: text}),
		r.store.AddCaseMember(ctx, by, id, cases.Member{Actor: line, Name: line}),
		r.store.HoldCase(ctx, by, id, text),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Hostile text is escaped, visible and cut wherever it comes out: pages, tables for
// spreadsheets, messages to other systems.
func TestHostileTextEverywhere(t *testing.T) {
	r, sweep := hostileServer(t)
	c, _ := r.signedIn(t, r.token)
	hit := must[api.List[api.HitInfo]](t, r, "GET", "/v1/hits", nil).Items[0]
	alerts := must[api.List[api.AlertInfo]](t, r, "GET", "/v1/alerts", nil).Items
	short, caseID := url.QueryEscape(evil()[:300]), must[api.List[cases.Case]](t, r, "GET", "/v1/cases", nil).Items[0].ID
	pages := []string{"/", "/hits", "/hits/" + hit.ID, "/hits?q=" + short, "/alerts", "/alerts?state=all&host=" + short, "/alerts/" + alerts[0].ID, "/search?q=" + short, "/search?q=m", "/models", "/models/m",
		"/inventory", "/inventory?q=" + short, "/reconcile", "/reconcile?model=" + short, "/agents", "/agents/" + hit.Agent, "/agents?host=" + short, "/sweeps", "/sweeps/" + sweep, "/policies", "/policies/p", "/audit", "/audit/6", "/settings", "/cases", "/cases?q=" + short, "/cases/WW-1", "/cases/new?alert=" + alerts[0].ID, "/cases/" + caseID + "/report",
		"/cases/" + caseID + "/report?format=markdown", "/kpis", "/nowhere/" + short[:60]}
	for _, page := range pages {
		status, _, body := r.send(t, c, "", "GET", page, nil)
		if status != http.StatusOK && !strings.HasPrefix(page, "/nowhere") {
			t.Errorf("%.60s: %d", page, status)
		}
		for _, bad := range []string{"<script>alert", "<img src=x", "\u202e", "\u2066", "\x1b", "\x00", "\x07"} {
			if strings.Contains(string(body), bad) {
				t.Errorf("%.60s has %q raw", page, bad)
			}
		}
		if len(body) > 500_000 {
			t.Errorf("%.60s has %d bytes", page, len(body))
		}
	}
	for _, page := range []string{"/hits.csv", "/alerts.csv?state=all", "/models.csv", "/inventory.csv", "/reconcile.csv", "/agents.csv", "/sweeps.csv", "/audit.csv", "/cases.csv"} {
		_, _, body := r.send(t, c, "", "GET", page, nil)
		rows, err := csv.NewReader(strings.NewReader(string(body))).ReadAll()
		if err != nil || len(rows) < 2 && page != "/models.csv" {
			t.Errorf("%s: %d rows, %v", page, len(rows), err)
		}
		for _, row := range rows {
			for _, cell := range row {
				if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) || strings.ContainsAny(cell, "\r\n\x1b\u202e\u2066\x07") || len(cell) > 4*4096+8 {
					t.Errorf("%s: cell of %d bytes: %.60q", page, len(cell), cell)
				}
			}
		}
	}
}

// What goes to other systems keeps hostile text in its field.
func TestHostileTextInMessages(t *testing.T) {
	r, _ := hostileServer(t)
	alerts, err := r.store.Alerts(t.Context(), store.AlertFilter{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	h, err := r.store.Hit(t.Context(), alerts[0].LastHit)
	if err != nil {
		t.Fatal(err)
	}
	e := &export.Event{Name: store.EventOpened, Alert: alerts[0], Hit: h.Body, Time: time.Now()}
	notice := &export.Event{Name: store.EventNotice, Notice: &store.Notice{Case: "id\n act=none", Ref: "WW-1", Text: evil(), Recipient: evil()}, Time: time.Now()}
	for _, format := range []string{export.Native, export.OCSF, export.ECS, export.CEF, export.Slack} {
		body, _, err := export.Render(format, notice)
		if err != nil || strings.ContainsAny(string(body), "\r\n\x1b\x00") || format == export.CEF && strings.Contains(string(body), "CEF:0|a|") {
			t.Errorf("%s of a notice: %v %.300q", format, err, body)
		}
	}
	for _, format := range []string{export.Native, export.OCSF, export.ECS, export.CEF, export.Slack} {
		body, _, err := export.Render(format, e)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(string(body), "\r\n\x1b\x00") {
			t.Errorf("%s has control characters", format)
		}
		if format != export.CEF && !json.Valid(body) {
			t.Errorf("%s is no JSON", format)
		}
		frame := string(export.Syslog(e, body))
		if strings.ContainsAny(frame, "\r\n\x1b\x00\x07") {
			t.Errorf("%s: control characters in the syslog frame", format)
		}
		if format == export.CEF && (strings.Count(string(body), " act=") != 1 || strings.Contains(string(body), "\u202e") || len(body) > 16<<10) {
			t.Errorf("CEF of %d bytes lets fields in: %.200q", len(body), body)
		}
	}
}
