package server

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
	for _, path := range []string{"/v1/cases/", "/v1/export/stix?case="} { // its number tells no more than one that there is not
		status, _, is := r.send(t, r.anon, r.token, "GET", path+"WW-1", nil)
		_, _, not := r.send(t, r.anon, r.token, "GET", path+"WW-2", nil)
		if status != 404 || strings.ReplaceAll(string(is), "WW-1", "WW-2") != string(not) {
			t.Errorf("%s: %d %s, and of none: %s", path, status, is, not)
		}
	}
	if list := must[api.List[cases.Case]](t, r, "GET", "/v1/cases?state=all", nil); len(list.Items) != 0 {
		t.Errorf("the list shows %d", len(list.Items))
	}
}

// The page that a task leads to is there, and shows the model or user of the case.
func TestLinksOfTasks(t *testing.T) {
	r := start(t)
	must[api.Model](t, r, "PUT", "/v1/models/aurora", api.ModelDescription{Kind: api.KindProtected, Tier: 1, Owner: "ml"})
	id, agent := r.agent(t)
	if status, _, out := r.send(t, agent, "", "POST", api.PathHits, api.HitBatch{Hits: []api.Hit{sampleHit(id, 1)}}); status != 200 {
		t.Fatalf("%d %s", status, out)
	}
	alert := must[api.List[api.AlertInfo]](t, r, "GET", "/v1/alerts", nil).Items[0]
	f := must[caseAnswer](t, r, "POST", "/v1/cases", newCase{Title: "stick", Alerts: []string{alert.ID}})
	browser, _ := r.signedIn(t, r.token)
	for _, g := range r.playbook.Groups {
		for _, k := range g.Tasks {
			if k.Link == "" {
				continue
			}
			t.Run(g.ID+"."+k.ID, func(t *testing.T) {
				path := strings.NewReplacer("{model}", "aurora", "{user}", f.Subject, "{case}", f.ID).Replace(k.Link)
				status, _, body := r.send(t, browser, "", "GET", path, nil)
				if status != 200 || strings.Contains(k.Link, "{model}") && !strings.Contains(string(body), "aurora") {
					t.Errorf("%s: %d %.200s", path, status, body)
				}
			})
		}
	}
}

// A running server notes a breach within seconds of the due time, also when the
// wall clock jumps to it, and one that fell into a stop when it is back.
func TestBreachIsNotedWithinSeconds(t *testing.T) {
	dir, jump := t.TempDir(), atomic.Int64{}
	now := func() time.Time { return time.Now().Add(time.Duration(jump.Load())) }
	run := func(check func(s *Server)) {
		s, err := New(t.Context(), Config{DataDir: dir, Version: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Notice: io.Discard, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.watchCases(ctx) }()
		check(s)
		stop()
		<-done
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ana := store.Actor{Kind: "user", ID: "ana", Name: "ana"}
	noted := func(s *Server, id, title string) time.Duration {
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			f, err := s.store.Case(t.Context(), ana, s.playbook, id)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range f.Clocks {
				if k.Title == title && !k.Breached.IsZero() {
					return k.Breached.Sub(k.Due)
				}
			}
		}
		t.Fatalf("%s: no breach was noted", title)
		return 0
	}
	id := ""
	run(func(s *Server) {
		var err error
		if id, err = s.store.OpenCase(t.Context(), ana, s.playbook, store.NewCase{Title: "x", Severity: 1, TLP: "AMBER"}); err != nil {
			t.Fatal(err)
		}
		jump.Store(int64(5*time.Minute - 500*time.Millisecond)) // the wall clock is set forward to just before the due time
		if late := noted(s, id, "Acknowledge the case"); late > 5*time.Second {
			t.Errorf("noted %s after the due time", late)
		}
		jump.Store(int64(15*time.Minute - 700*time.Millisecond)) // the next clock runs out around the stop
	})
	run(func(s *Server) {
		if late := noted(s, id, "Finish the triage"); late > 15*time.Second {
			t.Errorf("after a restart noted %s after the due time", late)
		}
	})
}
