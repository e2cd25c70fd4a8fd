package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/cases"
	"weightwarden/server/store"
	"weightwarden/server/store/storetest"
)

func TestCases(t *testing.T) {
	storetest.Each(t, []storetest.Case{
		{Name: "FromAlertToClose", Run: testCaseFromAlertToClose},
		{Name: "BreachIsNotedOnce", Run: testBreachIsNotedOnce},
		{Name: "ClockWarnings", Run: testClockWarnings},
		{Name: "Restricted", Run: testRestrictedCase},
		{Name: "SubjectIsNoMember", Run: testSubjectIsNoMember},
		{Name: "TwoPeople", Run: testTwoPeople},
		{Name: "Recipients", Run: testRecipients},
		{Name: "Signals", Run: testSignals},
		{Name: "Revisions", Run: testRevisions},
	})
}

func pb(t *testing.T) *cases.Playbook {
	t.Helper()
	p, err := cases.PB53()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func person(name string) store.Actor { return store.Actor{Kind: "user", ID: "id-" + name, Name: name} }

// alertOf stores a hit and returns the id of its alert.
func alertOf(t *testing.T, s *store.Store, seq uint64, user string) string {
	t.Helper()
	h := hit(seq)
	h.User = api.User{Name: user, UID: 1000}
	if _, err := s.AddHits(t.Context(), "a1", []api.Hit{h}, always(1)); err != nil {
		t.Fatal(err)
	}
	list, err := s.Alerts(t.Context(), store.AlertFilter{User: user, Limit: 1})
	if err != nil || len(list) != 1 {
		t.Fatalf("%d alerts, %v", len(list), err)
	}
	return list[0].ID
}

func openCase(t *testing.T, s *store.Store, by store.Actor, n store.NewCase) string {
	t.Helper()
	if n.TLP == "" {
		n.TLP = "AMBER"
	}
	id, err := s.OpenCase(t.Context(), by, pb(t), n)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func act(t *testing.T, s *store.Store, by store.Actor, id string, a cases.Action) error {
	t.Helper()
	return s.ChangeCase(t.Context(), by, pb(t), store.ActionChange(id, 0, &a))
}

// closeAgreed closes a case that takes a second person.
func closeAgreed(t *testing.T, s *store.Store, by, second store.Actor, id, resolution string) {
	t.Helper()
	if err := s.AddCaseMember(t.Context(), by, id, cases.Member{Actor: second.ID, Name: second.Name}); err != nil {
		t.Fatal(err)
	}
	ask, err := s.AskApproval(t.Context(), by, id, cases.ApproveFalsePositive, "it is settled")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DecideApproval(t.Context(), second, id, ask, true); err != nil {
		t.Fatal(err)
	}
	if err := act(t, s, by, id, cases.Action{Do: "close", Value: resolution}); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s *store.Store, by store.Actor, id string) *store.CaseFile {
	t.Helper()
	f, err := s.Case(t.Context(), by, pb(t), id)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func testCaseFromAlertToClose(t *testing.T, s *store.Store) {
	ana := person("ana")
	if err := s.PutModel(t.Context(), ana, api.Model{Name: "aurora", Kind: api.KindProtected, Tier: 1, Owner: "ml", Regulated: true}); err != nil {
		t.Fatal(err)
	}
	alert := alertOf(t, s, 1, "mallory")
	id := openCase(t, s, ana, store.NewCase{Title: "stick", Alerts: []string{alert}})
	f := read(t, s, ana, id)
	if f.Ref() != "WW-1" || f.Severity != 1 || f.Vector != "insider_copy" || f.Subject != "mallory" || !slices.Equal(f.Models, []string{"aurora"}) || len(f.Alerts) != 1 {
		t.Fatalf("%+v", f.Case)
	}
	if !f.Facts["accessed"].Value || !f.Facts["regulated"].Value || len(f.Notices) != 2 || len(f.Observables) < 5 || f.State.Copies != 1 {
		t.Errorf("facts %v, %d notices, %d observables, %d copies", f.Facts, len(f.Notices), len(f.Observables), f.State.Copies)
	}
	a, err := s.Alert(t.Context(), alert)
	if err != nil || a.CaseID != id || a.State != store.AlertAcknowledged {
		t.Errorf("alert %+v, %v", a, err)
	}
	// Another hit on the same alert reaches the case with the next tick.
	alertOf(t, s, 2, "mallory")
	if _, err := s.TickCases(t.Context(), pb(t), time.Now()); err != nil {
		t.Fatal(err)
	}
	if f = read(t, s, ana, id); f.Seen.Hits != 2 || !hasEvent(f, "note", "1 more hit(s)") {
		t.Errorf("the case knows of %d hits", f.Seen.Hits)
	}
	if err := s.RemoveCopy(t.Context(), ana, "a1", "/media/usb/holiday%.jpg", "stick wiped"); err != nil {
		t.Fatal(err)
	}
	if f = read(t, s, ana, id); f.State.Copies != 0 {
		t.Errorf("%d copies after it went", f.State.Copies)
	}
	alertOf(t, s, 3, "mallory")
	if f = read(t, s, ana, id); f.State.Copies != 1 {
		t.Error("a copy that was seen again is not back")
	}
	summary := "It was a test."
	for _, x := range []cases.Action{{Do: "take"}, {Do: "write", Summary: &summary}} {
		if err := act(t, s, ana, id, x); err != nil {
			t.Fatalf("%s: %v", x.Do, err)
		}
	}
	closeAgreed(t, s, ana, person("bob"), id, "test")
	if a, err = s.Alert(t.Context(), alert); err != nil || a.State != store.AlertClosed || a.Resolution != "test" {
		t.Errorf("alert of a closed case: %+v, %v", a, err)
	}
	figures, err := s.CaseFigures(t.Context(), time.Now().Add(-time.Hour))
	if err != nil || len(figures.Cases) != 1 || figures.Alert["test"] != 1 {
		t.Errorf("figures %+v, %v", figures, err)
	}
}

func hasEvent(f *store.CaseFile, kind, text string) bool {
	return slices.ContainsFunc(f.Events, func(e cases.Event) bool { return e.Kind == kind && strings.Contains(e.Text, text) })
}

// Two servers over one database, and ticks after ticks: a breach is one line.
func testBreachIsNotedOnce(t *testing.T, s *store.Store) {
	ana := person("ana")
	id := openCase(t, s, ana, store.NewCase{Title: "x", Severity: 1})
	due := time.Now().Add(6 * time.Minute) // the 5 minutes to acknowledge
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for range 4 {
		wg.Go(func() {
			for range 2 {
				_, err := s.TickCases(t.Context(), pb(t), due)
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	f := read(t, s, ana, id)
	breaches := 0
	for _, e := range f.Events {
		if e.Kind == "breach" {
			breaches++
		}
	}
	if breaches != 1 || !f.Events[0].At.Before(due) {
		t.Errorf("%d breaches noted", breaches)
	}
	if _, late, err := s.CaseCounts(t.Context(), ana); err != nil || late[1] != 1 {
		t.Errorf("late %v, %v", late, err)
	}
	if n, err := s.TickCases(t.Context(), pb(t), due.Add(time.Second)); n != 0 || err != nil {
		t.Errorf("ticked again: %d, %v", n, err)
	}
}

// Who is to keep a clock is told at 50 and 80 % of its time, and when it ran out.
func testClockWarnings(t *testing.T, s *store.Store) {
	ana := person("ana")
	id := openCase(t, s, ana, store.NewCase{Title: "x", Severity: 1})
	clocks := read(t, s, ana, id).Clocks
	i := slices.IndexFunc(clocks, func(c cases.Clock) bool { return c.Metric == cases.Acknowledge })
	if i < 0 || len(clocks[i].Roles) == 0 {
		t.Fatalf("no clock to acknowledge: %+v", clocks)
	}
	target := store.Target{Name: "pager", Kind: "webhook", URL: "https://pager.example/", Format: "native", Secret: []byte("s"), Recipients: clocks[i].Roles[:1]}
	if _, err := s.AddTarget(t.Context(), ana, target); err != nil {
		t.Fatal(err)
	}
	whole := clocks[i].Due.Sub(clocks[i].Started)
	for _, c := range []struct {
		percent int
		want    []string
	}{{49, nil}, {51, []string{"case.warning"}}, {79, nil}, {81, []string{"case.warning"}}, {101, []string{"case.breach"}}, {102, nil}} {
		if _, err := s.TickCases(t.Context(), pb(t), clocks[i].Started.Add(whole*time.Duration(c.percent)/100)); err != nil {
			t.Fatal(err)
		}
		list, err := s.ClaimDeliveries(t.Context(), 50, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, d := range list {
			if strings.Contains(d.Notice.Text, clocks[i].Title) {
				told = append(told, d.Event)
			}
		}
		if !slices.Equal(told, c.want) {
			t.Errorf("at %d %%: %q, want %q", c.percent, told, c.want)
		}
	}
}

func testSubjectIsNoMember(t *testing.T, s *store.Store) {
	ana, bob := person("ana"), person("bob")
	id := openCase(t, s, ana, store.NewCase{Title: "quiet", Severity: 1, Restricted: true})
	if err := s.AddCaseMember(t.Context(), ana, id, cases.Member{Actor: bob.ID, Name: bob.Name}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bob", "BOB@corp.example", `CORP\bob`} {
		if err := act(t, s, ana, id, cases.Action{Do: "subject", Value: name}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("a member becomes the subject as %q: %v", name, err)
		}
	}
	if err := s.JoinAlerts(t.Context(), ana, pb(t), id, []string{alertOf(t, s, 1, "bob")}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a member becomes the subject by his hits: %v", err)
	}
	if f := read(t, s, bob, id); f.Subject != "" || len(f.Alerts) != 0 {
		t.Errorf("subject %q, %d alerts", f.Subject, len(f.Alerts))
	}
	// Who is watched must not keep the watchers from hearing of it.
	_, err := s.OpenCase(t.Context(), bob, pb(t), store.NewCase{Title: "mine", Severity: 4, TLP: "RED", Restricted: true, Alerts: []string{alertOf(t, s, 2, "bob")}})
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("a person opens a restricted case on himself: %v", err)
	}
	open := openCase(t, s, bob, store.NewCase{Title: "known to all", Severity: 4, Alerts: []string{alertOf(t, s, 3, "bob")}})
	if err := act(t, s, ana, open, cases.Action{Do: "restrict", Reason: "x"}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("restricted while its subject is a member: %v", err)
	}
	for _, id := range []string{id, open} {
		if err := s.AddCaseMember(t.Context(), ana, id, cases.Member{Actor: ana.ID, Name: ana.Name}); err != nil {
			t.Fatal(err)
		}
		if err := s.RemoveCaseMember(t.Context(), ana, id, bob.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := act(t, s, ana, open, cases.Action{Do: "restrict", Reason: "x"}); err != nil {
		t.Error(err)
	}
	if err := act(t, s, ana, id, cases.Action{Do: "subject", Value: "bob"}); err != nil {
		t.Error(err)
	}
}

func testRestrictedCase(t *testing.T, s *store.Store) {
	ana, bob := person("ana"), person("bob")
	alert := alertOf(t, s, 1, "mallory")
	if _, err := s.AddTarget(t.Context(), ana, store.Target{Name: "soc", Kind: "webhook", URL: "https://soc.example/", Format: "native", Secret: []byte("s")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddTarget(t.Context(), ana, store.Target{Name: "hr", Kind: "webhook", URL: "https://hr.example/", Format: "native", Secret: []byte("s"), Recipients: []string{"HR", "SOC Manager"}}); err != nil {
		t.Fatal(err)
	}
	id := openCase(t, s, ana, store.NewCase{Title: "mallory", Restricted: true, Subject: "mallory", Alerts: []string{alert}})
	if _, err := s.Case(t.Context(), bob, pb(t), id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a stranger reads it: %v", err)
	}
	if err := act(t, s, bob, id, cases.Action{Do: "take"}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a stranger changes it: %v", err)
	}
	if list, err := s.Cases(t.Context(), bob, store.CaseFilter{Limit: 10}); err != nil || len(list) != 0 {
		t.Errorf("a stranger lists it: %d, %v", len(list), err)
	}
	for text, want := range map[string]int{"ww-1": 1, "MALL": 1, "WW-2": 0, "1": 0} {
		for who, want := range map[*store.Actor]int{&ana: want, &bob: 0} {
			if list, err := s.Cases(t.Context(), *who, store.CaseFilter{Text: text, Limit: 10}); err != nil || len(list) != want {
				t.Errorf("%s finds %d cases by %q, want %d: %v", who.Name, len(list), text, want, err)
			}
		}
	}
	if open, _, err := s.CaseCounts(t.Context(), bob); err != nil || open != [5]int{} {
		t.Errorf("a stranger counts it: %v, %v", open, err)
	}
	if a, err := s.Alert(t.Context(), alert); err != nil || a.CaseID != "" {
		t.Errorf("the alert names it: %+v, %v", a, err)
	}
	for _, m := range []cases.Member{{Actor: "x", Name: "mallory"}, {Actor: "x", Name: "Mallory@corp.example"}, {Actor: `CORP\MALLORY`, Name: "M."}} {
		if err := s.AddCaseMember(t.Context(), ana, id, m); !errors.Is(err, store.ErrConflict) {
			t.Errorf("the subject becomes a member as %+v: %v", m, err)
		}
	}
	if err := s.AddCaseMember(t.Context(), ana, id, cases.Member{Actor: bob.ID, Name: bob.Name}); err != nil {
		t.Fatal(err)
	}
	read(t, s, bob, id)
	alertOf(t, s, 2, "mallory") // joins the open alert: nothing to tell
	other := hit(3)
	other.User, other.Destination.Class = api.User{Name: `CORP\Mallory`}, "network"
	if _, err := s.AddHits(t.Context(), "a1", []api.Hit{other}, always(1)); err != nil {
		t.Fatal(err)
	}
	var told []string
	list, err := s.ClaimDeliveries(t.Context(), 50, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		told = append(told, d.Target.Name+" "+d.Event)
		if d.Notice == nil || strings.Contains(fmt.Sprint(*d.Notice), "mallory") || strings.Contains(fmt.Sprint(*d.Notice), "aurora") {
			t.Errorf("told %+v", d)
		}
	}
	if !slices.Equal(told, []string{"hr case.update"}) {
		t.Errorf("told %q: a new alert on the subject is for the case only", told)
	}
	if f := read(t, s, ana, id); len(f.Alerts) != 2 {
		t.Errorf("%d alerts in the case", len(f.Alerts))
	}
	reads := 0
	leaves, err := s.AuditLeaves(t.Context(), 0, 1000)
	for _, l := range leaves {
		if strings.Contains(string(l), `"case.read"`) {
			reads++
		}
	}
	if err != nil || reads != 2 {
		t.Errorf("%d looks in the audit log, %v", reads, err)
	}
}

func testTwoPeople(t *testing.T, s *store.Store) {
	ana, bob := person("ana"), person("bob")
	alert := alertOf(t, s, 1, "mallory")
	id := openCase(t, s, ana, store.NewCase{Title: "x", Alerts: []string{alert}})
	summary := "nothing"
	for _, x := range []cases.Action{{Do: "take"}, {Do: "write", Summary: &summary}} {
		if err := act(t, s, ana, id, x); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []cases.Action{{Do: "close", Value: "false_positive"}, {Do: "close", Value: "test"}, {Do: "severity", Value: "low", Reason: "so that I can close it"}, {Do: "close", Value: "false_positive"}} {
		if err := act(t, s, ana, id, x); x.Do == "close" && !errors.Is(err, cases.ErrRefused) || x.Do != "close" && err != nil {
			t.Errorf("critical case closed as a false alarm by one: %+v: %v", x, err)
		}
	}
	ask, err := s.AskApproval(t.Context(), ana, id, cases.ApproveFalsePositive, "it is a fixture")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DecideApproval(t.Context(), ana, id, ask, true); !errors.Is(err, store.ErrConflict) {
		t.Errorf("who asked agrees: %v", err)
	}
	if err := s.DecideApproval(t.Context(), bob, id, ask, true); err != nil {
		t.Fatal(err)
	}
	if err := s.HoldCase(t.Context(), ana, id, "letter"); err != nil {
		t.Fatal(err)
	}
	if err := act(t, s, ana, id, cases.Action{Do: "close", Value: "false_positive"}); err != nil {
		t.Errorf("with two people: %v", err)
	}
	if err := act(t, s, ana, id, cases.Action{Do: "reopen", Reason: "a new hit"}); err != nil {
		t.Error(err)
	}
	if err := act(t, s, ana, id, cases.Action{Do: "close", Value: "false_positive"}); !errors.Is(err, cases.ErrRefused) {
		t.Errorf("what was agreed before the case was opened again: %v", err)
	}
	closeAgreed(t, s, ana, bob, id, "false_positive")
	lift, err := s.AskApproval(t.Context(), bob, id, cases.ApproveLiftHold, "settled")
	if err != nil {
		t.Fatal(err)
	}
	if f := read(t, s, ana, id); !f.Hold {
		t.Error("asking lifts the hold")
	}
	if err := s.DecideApproval(t.Context(), ana, id, lift, true); err != nil {
		t.Fatal(err)
	}
	if f := read(t, s, ana, id); f.Hold {
		t.Error("the hold stands after two people lifted it")
	}
}

// Each true fact tells exactly the playbook's recipients, and nobody else.
func testRecipients(t *testing.T, s *store.Store) {
	ana := person("ana")
	for _, r := range []string{"CTO", "CISO", "Legal", "Data Protection Officer", "HR", "Executive Leadership", "Compliance"} {
		if _, err := s.AddTarget(t.Context(), ana, store.Target{Name: r, Kind: "webhook", URL: "https://x.example/", Format: "native", Secret: []byte("s"), Recipients: []string{r}}); err != nil {
			t.Fatal(err)
		}
	}
	for fact, want := range map[string][]string{"weights_stolen": {"CISO", "CTO", "Legal"}, "data_exfiltrated": {"Data Protection Officer", "Legal"}, "insider": {"CISO", "HR", "Legal"},
		"competitor": {"Executive Leadership", "Legal"}, "regulated": {"Compliance", "Legal"}} {
		id := openCase(t, s, ana, store.NewCase{Title: fact, Severity: 2})
		yes := true
		if err := act(t, s, ana, id, cases.Action{Do: "fact", Fact: fact, True: &yes, Reason: "r"}); err != nil {
			t.Fatal(err)
		}
		list, err := s.ClaimDeliveries(t.Context(), 50, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, d := range list {
			told = append(told, d.Target.Name)
		}
		slices.Sort(told)
		if !slices.Equal(told, want) {
			t.Errorf("%s told %q, want %q", fact, told, want)
		}
	}
}

func testSignals(t *testing.T, s *store.Store) {
	hr := store.Actor{Kind: "token", ID: "hr", Name: "hr"}
	g := store.Signal{Kind: "insider", Source: "HR", Subject: "mallory", Text: "resigned"}
	alertOf(t, s, 1, "mallory")
	id, opened, err := s.TakeSignal(t.Context(), hr, pb(t), g, []cases.Member{{Actor: "id-ana", Name: "ana"}})
	if err != nil || !opened {
		t.Fatalf("%v %v", opened, err)
	}
	again, opened, err := s.TakeSignal(t.Context(), hr, pb(t), g, nil)
	if err != nil || opened || again != id {
		t.Errorf("the second signal: %v %v %v", again == id, opened, err)
	}
	f := read(t, s, person("ana"), id)
	if !f.Restricted || f.TLP != "RED" || len(f.Alerts) != 1 || len(f.Signals) != 2 {
		t.Errorf("%+v, %d alerts, %d signals", f.Case, len(f.Alerts), len(f.Signals))
	}
}

func testRevisions(t *testing.T, s *store.Store) {
	ana := person("ana")
	id := openCase(t, s, ana, store.NewCase{Title: "x", Severity: 3})
	seen := read(t, s, ana, id).Revision
	if err := s.ChangeCase(t.Context(), ana, pb(t), store.ActionChange(id, seen, &cases.Action{Do: "take"})); err != nil {
		t.Fatal(err)
	}
	err := s.ChangeCase(t.Context(), ana, pb(t), store.ActionChange(id, seen, &cases.Action{Do: "title", Value: "y"}))
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("a change over somebody else's: %v", err)
	}
	if f := read(t, s, ana, id); f.Title != "x" || len(f.Events) == 0 {
		t.Errorf("%+v", f.Case)
	}
}

// A server that was down while a clock ran out notes the breach when it is back.
func TestBreachAcrossARestart(t *testing.T) {
	cfg := store.Config{Path: filepath.Join(t.TempDir(), "s.db")}
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ana := person("ana")
	id := openCase(t, s, ana, store.NewCase{Title: "x", Severity: 1})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.Open(t, cfg)
	if n, err := s.TickCases(t.Context(), pb(t), time.Now().Add(5*time.Minute+time.Second)); err != nil || n == 0 {
		t.Fatalf("%d clocks, %v", n, err)
	}
	if f := read(t, s, ana, id); !hasEvent(f, "breach", "Acknowledge the case") {
		t.Error("no breach after the restart")
	}
}
