package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/store"
)

// fleetOf enrols machines and returns their ids by host.
func fleetOf(t *testing.T, s *store.Store, hosts ...string) map[string]string {
	t.Helper()
	secret := []byte("enrol")
	_, err := s.AddEnrolToken(t.Context(), actor(), store.EnrolToken{UsesLeft: int64(len(hosts)), Labels: map[string]string{"site": "a"}, Expires: time.Now().Add(time.Hour)}, secret)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for _, h := range hosts {
		a, err := s.Enrol(t.Context(), secret, store.Agent{ID: store.NewID(), Host: h, OS: "linux"}, "")
		if err != nil {
			t.Fatal(err)
		}
		ids[h] = a.ID
	}
	return ids
}

// copied stores a hit of a user on a host.
func copied(t *testing.T, s *store.Store, agent, host, user, model, path string, seq uint64, severity int) {
	t.Helper()
	h := hit(seq)
	h.AgentID, h.Host.Name, h.User.Name, h.Verdict.Model, h.Verdict.Path = agent, host, user, model, path
	h.Verdict.Digests.Content = fmt.Sprintf("%064x", seq)
	if _, err := s.AddHits(t.Context(), agent, []api.Hit{h}, always(severity)); err != nil {
		t.Fatal(err)
	}
}

func testConsole(t *testing.T, s *store.Store) {
	ctx := t.Context()
	ids := fleetOf(t, s, "gpu-1", "gpu-2", "ws_1")
	if err := s.PutModel(ctx, actor(), api.Model{Name: "aurora", Kind: api.KindProtected, Tier: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddAuthorisation(ctx, actor(), store.Authorisation{Model: "aurora", Host: "gpu-2", Reason: "r", Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	copied(t, s, ids["gpu-1"], "gpu-1", "ada", "aurora", "/home/a%b.bin", 1, 1)
	copied(t, s, ids["gpu-1"], "gpu-1", "bob", "aurora", `C:\x\other.bin`, 2, 3)
	copied(t, s, ids["gpu-2"], "gpu-2", "ada", "aurora", "/srv/c.bin", 3, 3) // authorised
	copied(t, s, ids["ws_1"], "ws_1", "eve", "gone", "/home/d.bin", 4, 4)

	days, err := s.AlertTrend(ctx, time.Now().Add(-48*time.Hour))
	if err != nil || len(days) != 3 || days[2].Counts != [5]int{0, 1, 0, 1, 1} {
		t.Errorf("trend %v, %v", days, err)
	}
	top, err := s.TopActive(ctx, "host", 5)
	if err != nil || fmt.Sprint(top) != "[{gpu-1 2} {ws_1 1}]" {
		t.Errorf("top %v, %v", top, err)
	}
	if _, err := s.TopActive(ctx, "note; DROP TABLE alert", 5); err == nil {
		t.Error("counted by anything")
	}
	soon := time.Now().Add(time.Hour)
	late, err := s.Late(ctx, [5]time.Time{1: soon, 3: {}, 4: soon}, 10)
	if err != nil || late != [5]int{0, 1, 0, 0, 1} {
		t.Errorf("late %v, %v", late, err)
	}
	wait, err := s.Waiting(ctx, 2)
	if err != nil || len(wait) != 2 || wait[0].Severity != 1 || wait[1].Severity != 3 {
		t.Errorf("waiting %v, %v", wait, err)
	}
	testConsoleFleet(t, s, ids)
	testConsoleInventory(t, s)
	testConsoleFind(t, s)
	testConsoleViews(t, s)
}

func testConsoleFleet(t *testing.T, s *store.Store, ids map[string]string) {
	ctx := t.Context()
	hb := api.Heartbeat{Host: api.Host{Name: "gpu-1"}, Snapshot: 4, Spool: api.SpoolInfo{Pending: 7}, Gaps: []api.Gap{{ID: "g"}}}
	if err := s.Heartbeat(ctx, ids["gpu-1"], &hb); err != nil {
		t.Fatal(err)
	}
	sight, err := s.Sight(ctx, 4)
	if err != nil || sight != (store.Sight{Gaps: 1, Behind: 2, Agents: 3, Waiting: 7}) {
		t.Errorf("sight %+v, %v", sight, err)
	}
	spread, err := s.SnapshotSpread(ctx)
	if err != nil || fmt.Sprint(spread) != "[{4 1} {0 2}]" {
		t.Errorf("spread %v, %v", spread, err)
	}
	for show, want := range map[string]int{"": 3, "gaps": 1, "behind": 2, "silent": 0, "faults": 0, "active": 3, "cloned": 0} {
		list, err := s.AgentList(ctx, store.AgentFilter{Show: show, Epoch: 4, Limit: 10})
		if err != nil || len(list) != want {
			t.Errorf("agents %q: %d, want %d, %v", show, len(list), want, err)
		}
	}
	groups, err := s.AgentLabels(ctx)
	if err != nil || len(groups) != 1 || groups[0].Count != 3 {
		t.Errorf("labels %v, %v", groups, err)
	}
	id, err := s.AddSweep(ctx, actor(), "aurora", []string{}, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	missed, err := s.Missed(ctx, id, 10)
	if err != nil || len(missed) != 3 || missed[0].Host != "gpu-1" {
		t.Errorf("missed %v, %v", missed, err)
	}
}

func testConsoleInventory(t *testing.T, s *store.Store) {
	ctx := t.Context()
	list, err := s.Reconcile(ctx)
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	a, g := list[0], list[1]
	if a.Model != "aurora" || a.Authorised != 1 || a.Unauthorised != 2 || a.Hosts != 2 || a.Permits != 1 || a.Kind != api.KindProtected {
		t.Errorf("aurora: %+v", a)
	}
	if g.Model != "gone" || g.Kind != "" || g.Unauthorised != 1 {
		t.Errorf("gone: %+v", g)
	}
	f := store.CopyFilter{Limit: 1}
	seen := map[string]bool{}
	for range 5 { // one page more than there are
		page, err := s.CopyList(ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			seen[c.Path] = true
			f.Before, f.BeforeHit = c.LastSeen, c.LastHit
		}
	}
	if len(seen) != 4 {
		t.Errorf("pages saw %d of 4 copies", len(seen))
	}
	for want, f := range map[int]store.CopyFilter{1: {Authorised: "yes"}, 3: {Authorised: "no"}, 2: {Host: "gpu-1"}, 0: {Text: "a_b", Model: "aurora"}} {
		f.Limit = 10
		if got, err := s.CopyList(ctx, f); err != nil || len(got) != want {
			t.Errorf("%+v: %d, want %d, %v", f, len(got), want, err)
		}
	}
	hosts, err := s.CopiesByHost(ctx, "aurora", 10)
	if err != nil || fmt.Sprint(hosts) != "[{gpu-1 0 2} {gpu-2 1 0}]" {
		t.Errorf("hosts %v, %v", hosts, err)
	}
}

func testConsoleFind(t *testing.T, s *store.Store) {
	for text, want := range map[string]string{
		"gpu-":                     "agents 2 models 0 users 0 files 0 same 0",
		"aur":                      "agents 0 models 1 users 0 files 0 same 0",
		"e":                        "agents 0 models 0 users 1 files 0 same 0",
		"a%b":                      "agents 0 models 0 users 0 files 1 same 0",
		"ws_":                      "agents 1 models 0 users 0 files 0 same 0",
		"_":                        "agents 0 models 0 users 0 files 0 same 0",
		`D:\other`:                 "agents 0 models 0 users 0 files 1 same 0",
		fmt.Sprintf("%064x", 3):    "agents 0 models 0 users 0 files 0 same 1",
		strings.Repeat("0", 60):    "agents 0 models 0 users 0 files 0 same 4",
		strings.Repeat("x", 10000): "agents 0 models 0 users 0 files 0 same 0",
	} {
		f, err := s.Find(t.Context(), text, 10)
		got := fmt.Sprintf("agents %d models %d users %d files %d same %d", len(f.Agents), len(f.Models), len(f.Users), len(f.Files), len(f.Same))
		if err != nil || got != want {
			t.Errorf("%.40q: %s, want %s, %v", text, got, want, err)
		}
	}
	back, err := s.HitBack(t.Context(), "", 3)
	if err != nil || back == "" {
		t.Fatalf("%q, %v", back, err)
	}
	if n, err := s.CountHits(t.Context(), store.HitFilter{From: back}, 10); err != nil || n != 3 {
		t.Errorf("%d of the newest 3, %v", n, err)
	}
	if back, err := s.HitBack(t.Context(), back, 3); err != nil || back != "" {
		t.Errorf("further back than there are: %q, %v", back, err)
	}
}

func testConsoleViews(t *testing.T, s *store.Store) {
	ctx := t.Context()
	for _, q := range []string{"a=1", "a=2"} {
		if err := s.SaveView(ctx, "me", store.View{Page: "/alerts", Name: "mine", Query: q}); err != nil {
			t.Fatal(err)
		}
	}
	mine, err := s.Views(ctx, "me", "/alerts")
	if err != nil || len(mine) != 1 || mine[0].Query != "a=2" {
		t.Errorf("%v, %v", mine, err)
	}
	if list, err := s.Views(ctx, "you", "/alerts"); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if err := s.AddSession(ctx, actor(), store.Session{Subject: "me", Name: "Me", Roles: []string{"reader"}, Expires: time.Now().Add(time.Hour)}, []byte("c")); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Sessions(ctx); err != nil || len(list) != 1 || list[0].Name != "Me" {
		t.Errorf("%v, %v", list, err)
	}
	if err := s.EndSessions(ctx, actor(), "me"); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Sessions(ctx); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}
