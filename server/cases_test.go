package server

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"weightwarden/internal/api"
	"weightwarden/internal/bundle"
	"weightwarden/server/cases"
	"weightwarden/server/store"
)

// Evidence that the server hands out verifies offline, and each download is in the
// chain of custody and in the audit log before it leaves.
func TestSealedEvidence(t *testing.T) {
	r := start(t)
	must[api.Model](t, r, "PUT", "/v1/models/aurora", api.ModelDescription{Kind: api.KindProtected, Tier: 1, Owner: "ml"})
	id, c := r.agent(t)
	if status, _, out := r.send(t, c, "", "POST", api.PathHits, api.HitBatch{Hits: []api.Hit{sampleHit(id, 1)}}); status != 200 {
		t.Fatalf("%d %s", status, out)
	}
	alert := must[api.List[api.AlertInfo]](t, r, "GET", "/v1/alerts", nil).Items[0]
	f := must[caseAnswer](t, r, "POST", "/v1/cases", newCase{Title: "stick", Alerts: []string{alert.ID}})
	key, err := note.NewVerifier(must[api.WhoAmI](t, r, "GET", "/v1/whoami", nil).SnapshotKey)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 2; n++ {
		status, kind, body := r.send(t, r.anon, r.token, "GET", "/v1/cases/"+f.ID+"/bundle", nil)
		if status != 200 || kind != "application/zip" {
			t.Fatalf("%d %s %.200s", status, kind, body)
		}
		rep, err := bundle.Verify(bytes.NewReader(body), int64(len(body)), key)
		if err != nil || rep.Manifest.Case != "WW-1" || rep.Proven < n || rep.Files < 12 {
			t.Fatalf("%+v, %v", rep, err)
		}
		after := must[caseAnswer](t, r, "GET", "/v1/cases/"+f.ID, nil)
		if len(after.Custody) != n || after.Custody[n-1].Action != "downloaded" || len(after.Custody[n-1].SHA256) != 64 {
			t.Errorf("custody %+v", after.Custody)
		}
	}
}

// A case may be read by whom it is meant for, and by nobody else, through every
// route that has it.
func TestStrangersFindNoRestrictedCase(t *testing.T) {
	r := start(t)
	owner := store.Actor{Kind: "token", ID: "owner", Name: "owner"}
	id, err := r.store.OpenCase(t.Context(), owner, r.playbook, store.NewCase{Title: "secretword", Severity: 1, TLP: "RED", Restricted: true, Subject: "mallory"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range [][3]string{{"GET", "", ""}, {"GET", "/report", ""}, {"GET", "/bundle", ""}, {"POST", "/actions", `{"do":"take"}`}, {"POST", "/hold", `{"reason":"x"}`},
		{"POST", "/observables", `{"type":"host","value":"x"}`}, {"PUT", "/members/me", `{"name":"me"}`}, {"POST", "/approvals", `{"action":"lift_hold","reason":"x"}`}} {
		var body any
		if tc[2] != "" {
			body = tc[2]
		}
		status, _, out := r.send(t, r.anon, r.token, tc[0], "/v1/cases/"+id+tc[1], body)
		if status != 404 || strings.Contains(string(out), "secretword") {
			t.Errorf("%s %s: %d %.200s", tc[0], tc[1], status, out)
		}
	}
	if list := must[api.List[cases.Case]](t, r, "GET", "/v1/cases?state=all", nil); len(list.Items) != 0 {
		t.Errorf("the list shows %d", len(list.Items))
	}
}
