package cases

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"weightwarden/internal/api"
)

// monday is 2026-11-23, 09:00 UTC.
func monday() time.Time { return time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC) }

func book(t *testing.T) *Playbook {
	t.Helper()
	p, err := PB53()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func begin(t *testing.T) *Work {
	t.Helper()
	p := book(t)
	w := &Work{Playbook: p, Now: monday(), By: "ana", ByID: "u1",
		Case: &Case{ID: "c", Number: 1, Title: "t", Phase: "detect", Severity: 1, Actor: ActorUnknown, Opened: monday()}}
	w.Begin()
	return w
}

// number gives tasks and clocks the ids that the store would.
func number(w *Work) {
	for i := range w.Tasks {
		w.Tasks[i].ID = w.Tasks[i].Key
	}
	for i := range w.Clocks {
		w.Clocks[i].ID = w.Clocks[i].Metric + ":" + w.Clocks[i].Task
	}
	for i := range w.Notices {
		w.Notices[i].ID = w.Notices[i].Recipient
	}
}

// The lines of the playbook, restated: a change of the data shall fail a test.
func TestPlaybookSaysWhatPB53Says(t *testing.T) {
	p := book(t)
	if p.ID != "PB-53" || p.Severity != 1 || len(p.Phases) != 6 || len(p.Vectors) != 5 || len(p.Matrix) != 4 {
		t.Fatalf("%s: severity %d, %d phases, %d vectors, %d rows", p.ID, p.Severity, len(p.Phases), len(p.Vectors), len(p.Matrix))
	}
	for id, n := range map[string]int{"triage": 6, "contain.immediate": 6, "contain.extraction": 3, "contain.insider": 4, "recovery": 6, "post": 6} {
		if g, _ := p.Group(id); len(g.Tasks) != n {
			t.Errorf("%s has %d tasks, the playbook %d", id, len(g.Tasks), n)
		}
	}
	for id, severity := range map[string]int{"api_extraction": 1, "weight_theft": 1, "data_exfiltration": 1, "insider_copy": 1, "side_channel": 2} {
		if v, ok := p.Vector(id); !ok || v.Severity != severity {
			t.Errorf("vector %s: %+v", id, v)
		}
	}
	for id, to := range map[string]string{"weights_stolen": "CTO CISO Legal", "data_exfiltrated": "Data Protection Officer Legal", "insider": "HR Legal CISO",
		"competitor": "Legal Executive Leadership", "regulated": "Compliance Legal"} {
		if f, ok := p.Fact(id); !ok || strings.Join(f.Notify, " ") != to {
			t.Errorf("fact %s tells %q, the playbook %q", id, f.Notify, to)
		}
	}
}

func TestParseRefusesWhatDoesNotFit(t *testing.T) {
	for name, change := range map[string][2]string{
		"unknown field":  {`"category"`, `"kategory"`},
		"unknown group":  {`["contain.extraction"]`, `["contain.x"]`},
		"unknown fact":   {`"any": ["suspicious"]`, `"any": ["suspect"]`},
		"unknown phase":  {`"phase": "recover"`, `"phase": "heal"`},
		"row's calendar": {`"calendar": "policy"`, `"calendar": "moon"`},
		"no target":      {`"4": {"acknowledge": 240`, `"4": {"acknowledge": 0`},
	} {
		text := strings.Replace(string(pb53), change[0], change[1], 1)
		if text == string(pb53) {
			t.Fatalf("%s: %q is not in the playbook", name, change[0])
		}
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestCalendars(t *testing.T) {
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 11, day, hour, minute, 0, 0, time.UTC) }
	for _, tc := range []struct {
		calendar Calendar
		from     time.Time
		d        time.Duration
		due      time.Time
	}{
		{Always, at(21, 23, 50), 15 * time.Minute, at(22, 0, 5)},
		{Business, at(23, 9, 0), time.Hour, at(23, 10, 0)},
		{Business, at(20, 16, 30), time.Hour, at(23, 8, 30)}, // Friday to Monday
		{Business, at(21, 12, 0), time.Hour, at(23, 9, 0)},   // Saturday
		{Business, at(23, 3, 0), 9 * time.Hour, at(23, 17, 0)},
		{Business, at(23, 17, 0), 0, at(24, 8, 0)},
		{Shift, at(23, 9, 0), 0, at(23, 14, 0)},
		{Shift, at(23, 13, 45), 0, at(23, 22, 0)}, // too little of the shift is left
		{Shift, at(23, 23, 0), 0, at(24, 6, 0)},
		{Shift, at(23, 1, 0), 0, at(23, 6, 0)},
	} {
		due, ok := tc.calendar.Due(tc.from, tc.d)
		if !ok || !due.Equal(tc.due) {
			t.Errorf("%s from %s after %s: %s, want %s", tc.calendar, tc.from, tc.d, due, tc.due)
		}
		if tc.calendar != Shift && tc.d > 0 && tc.calendar.Spent(tc.from, due) != tc.d {
			t.Errorf("%s from %s to %s: spent %s, want %s", tc.calendar, tc.from, due, tc.calendar.Spent(tc.from, due), tc.d)
		}
	}
	if _, ok := Policy.Due(monday(), time.Hour); ok {
		t.Error("policy has a time of its own")
	}
}

// Marks come at 50, 80 and 100 %, each once, whatever was missed in between.
func TestMarks(t *testing.T) {
	w := begin(t)
	k := &Clock{Metric: Task, Title: "x", Calendar: Always, Started: monday(), Due: monday().Add(100 * time.Minute)}
	for _, tc := range []struct {
		minute, marks int
		noted         bool
	}{{49, 0, false}, {50, 50, true}, {79, 50, false}, {85, 80, true}, {100, 100, true}, {500, 100, false}} {
		w.Now = monday().Add(time.Duration(tc.minute) * time.Minute)
		if _, noted := w.MarkClock(k); noted != tc.noted || k.Marks != tc.marks {
			t.Errorf("minute %d: noted %v, marks %d", tc.minute, noted, k.Marks)
		}
	}
	if !k.Breached.Equal(monday().Add(100 * time.Minute)) {
		t.Errorf("breached %s", k.Breached)
	}
	late := &Clock{Metric: Task, Title: "y", Calendar: Always, Started: monday(), Due: monday().Add(time.Minute)}
	if m, ok := w.MarkClock(late); !ok || m.Percent != 100 || late.Marks != 100 {
		t.Errorf("after a long stop: %+v %v", m, ok)
	}
}

func TestPauseMovesTheDueTime(t *testing.T) {
	k := &Clock{Calendar: Always, Started: monday(), Due: monday().Add(time.Hour)}
	if err := k.Pause(monday().Add(10*time.Minute), "lunch"); !errors.Is(err, ErrRefused) {
		t.Errorf("a reason that is not listed: %v", err)
	}
	if err := k.Pause(monday().Add(10*time.Minute), PauseReasons()[0]); err != nil {
		t.Fatal(err)
	}
	if _, ok := k.NextMark(); ok {
		t.Error("a clock that stands still has a next mark")
	}
	if err := k.Resume(monday().Add(40 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	if want := monday().Add(90 * time.Minute); !k.Due.Equal(want) {
		t.Errorf("due %s, want %s", k.Due, want)
	}
	if m, _ := k.NextMark(); !m.At.Equal(monday().Add(60 * time.Minute)) { // half of 60 minutes after a start moved by 30
		t.Errorf("half the time at %s", m.At)
	}
	if err := k.Pause(monday().Add(2*time.Hour), PauseReasons()[0]); !errors.Is(err, ErrRefused) {
		t.Errorf("pause of a clock that ran out: %v", err)
	}
}

func TestSteadyNeverRunsBackwards(t *testing.T) {
	wall, counted := monday(), time.Duration(0)
	s := NewSteady(func() time.Time { return wall }, func() time.Duration { return counted })
	step := func(w, c time.Duration) (time.Time, time.Duration) {
		wall, counted = wall.Add(w), counted+c
		return s.Now()
	}
	if now, jump := step(time.Minute, time.Minute); !now.Equal(monday().Add(time.Minute)) || jump != 0 {
		t.Errorf("%s %s", now, jump)
	}
	if now, jump := step(-time.Hour, time.Minute); !now.Equal(monday().Add(2*time.Minute)) || jump != -61*time.Minute {
		t.Errorf("set back: %s %s", now, jump)
	}
	if now, jump := step(5*time.Hour, time.Minute); !now.Equal(wall) || jump != 4*time.Hour-2*time.Minute {
		t.Errorf("set forward: %s %s", now, jump)
	}
}

func TestFactsDecideAndNotify(t *testing.T) {
	w := begin(t)
	if len(w.Tasks) != 6 || len(w.Clocks) != 4 {
		t.Fatalf("a new case has %d tasks and %d clocks", len(w.Tasks), len(w.Clocks))
	}
	if err := w.SetFact("suspicious", true, "gateway log"); err != nil {
		t.Fatal(err)
	}
	rows := func() (out []string) {
		for _, d := range w.Playbook.Decide(w.Case) {
			out = append(out, d.ID)
		}
		return out
	}
	if got := rows(); !slices.Equal(got, []string{"suspicious"}) {
		t.Errorf("rows %q", got)
	}
	if err := w.SetFact("accessed", true, "hit"); err != nil {
		t.Fatal(err)
	}
	if got := rows(); !slices.Equal(got, []string{"accessed"}) {
		t.Errorf("rows %q: theft outweighs suspicion", got)
	}
	old, err := w.task("decide.suspicious")
	if err != nil || old.State != TaskNA {
		t.Errorf("the decision that no longer holds: %+v, %v", old, err)
	}
	if err := w.SetFact("insider", true, "badge log"); err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, n := range w.Notices {
		told = append(told, n.Recipient)
	}
	if !slices.Equal(told, []string{"HR", "Legal", "CISO"}) || w.Case.Actor != ActorInsider {
		t.Errorf("told %q, actor %s", told, w.Case.Actor)
	}
	before := len(w.Tasks)
	w.settle()
	if len(w.Tasks) != before {
		t.Error("tasks were added twice")
	}
	if _, err := w.task("contain.insider.preserve"); err != nil {
		t.Error(err)
	}
}

// The 15 minutes of containment, and no "done" without proof.
func TestContainmentHasTimersAndProof(t *testing.T) {
	w := begin(t)
	if err := w.SetFact("accessed", true, "hit"); err != nil {
		t.Fatal(err)
	}
	number(w)
	n := 0
	for _, k := range w.Clocks {
		if strings.HasPrefix(k.Task, "contain.immediate.") {
			n++
			if !k.Due.Equal(monday().Add(15 * time.Minute)) {
				t.Errorf("%s is due %s", k.Task, k.Due)
			}
		}
	}
	if n != 6 {
		t.Errorf("%d timers, want 6", n)
	}
	if err := w.SettleTask("contain.immediate.revoke_keys", TaskDone, "", ""); !errors.Is(err, ErrRefused) {
		t.Errorf("done without proof: %v", err)
	}
	if err := w.SettleTask("contain.immediate.revoke_keys", TaskNA, "", ""); !errors.Is(err, ErrRefused) {
		t.Errorf("waved away without reason: %v", err)
	}
	if err := w.SettleTask("contain.immediate.revoke_keys", TaskDone, "IAM event 7", ""); err != nil {
		t.Error(err)
	}
	k, err := w.clock("task:contain.immediate.revoke_keys")
	if err != nil || !k.Kept() {
		t.Errorf("%+v %v", k, err)
	}
}

func TestRestrictedNoticesSayNothing(t *testing.T) {
	w := begin(t)
	w.Case.Restricted, w.Case.Subject, w.Case.Models, w.Case.Title = true, "mallory", []string{"aurora"}, "mallory took aurora"
	if err := w.SetFact("insider", true, "badge log of mallory"); err != nil {
		t.Fatal(err)
	}
	for _, n := range w.Notices {
		for _, secret := range []string{"mallory", "aurora", "nsider", "badge"} {
			if strings.Contains(n.Text, secret) {
				t.Errorf("notice to %s: %q", n.Recipient, n.Text)
			}
		}
	}
	w.By = "mallory"
	if err := w.Take("u2", "mallory"); !errors.Is(err, ErrRefused) {
		t.Errorf("the subject owns the case: %v", err)
	}
}

// A whole case, from first hit to close, with every gate tried before it opens.
func TestStory(t *testing.T) {
	w := begin(t)
	w.Learn(Look([]Hit{sample()}, map[string]api.Model{"aurora": {Name: "aurora", Kind: "protected", Tier: 1, Regulated: true}}))
	if w.Case.Vector != "insider_copy" || !w.Case.Facts.True("accessed") || !w.Case.Facts.True("regulated") || w.Case.Subject != "mallory" {
		t.Fatalf("learned %+v", w.Case)
	}
	number(w)
	s := &State{Case: w.Case, Alerts: 1}
	do := func(a Action) error {
		s.Tasks, s.Clocks = w.Tasks, w.Clocks
		err := a.Apply(w, s)
		number(w)
		return err
	}
	ok := func(a Action) {
		t.Helper()
		if err := do(a); err != nil {
			t.Fatalf("%s: %v", a.Do, err)
		}
	}
	refused := func(a Action) {
		t.Helper()
		if err := do(a); !errors.Is(err, ErrRefused) {
			t.Errorf("%s was not refused: %v", a.Do, err)
		}
	}
	settleAll := func(prefix string) {
		t.Helper()
		for _, k := range slices.Clone(w.Tasks) {
			if strings.HasPrefix(k.Key, prefix) && k.State == TaskOpen {
				ok(Action{Do: "task", Task: k.ID, Value: TaskDone, Proof: "ticket"})
			}
		}
	}
	refused(Action{Do: "advance"}) // nobody owns it
	ok(Action{Do: "take"})
	ok(Action{Do: "advance"})
	refused(Action{Do: "advance"}) // the triage is open
	settleAll("triage.")
	refused(Action{Do: "advance"}) // the actor is not judged
	ok(Action{Do: "actor", Value: ActorInsider, Reason: "his account, his stick"})
	yes := true
	ok(Action{Do: "fact", Fact: "insider", True: &yes, Reason: "he said so"})
	refused(Action{Do: "advance"}) // the time of the row "impact" is left to policy
	ok(Action{Do: "decide", Row: "impact", Minutes: 60, Reason: "incident policy 4.2"})
	ok(Action{Do: "advance"})
	refused(Action{Do: "advance"})
	settleAll("contain.")
	settleAll("decide.")
	ok(Action{Do: "advance"})
	settleAll("eradicate.")
	s.Copies = 1
	refused(Action{Do: "advance"}) // a copy is left
	s.Copies = 0
	refused(Action{Do: "advance"}) // no sweep
	s.Sweeps = []SweepState{{Model: "aurora", Agents: 3, Done: 3}}
	ok(Action{Do: "advance"})
	refused(Action{Do: "close", Value: "true_positive"})
	settleAll("recovery.")
	ok(Action{Do: "advance"})
	summary, cause, lessons := "He copied it.", "No block on sticks.", "Block them."
	ok(Action{Do: "write", Summary: &summary, RootCause: &cause, Lessons: &lessons})
	refused(Action{Do: "close", Value: "true_positive"}) // the post-incident list is open
	settleAll("post.")
	refused(Action{Do: "close", Value: "false_positive"}) // critical: needs a second person
	ok(Action{Do: "close", Value: "true_positive"})
	refused(Action{Do: "note2"})
	refused(Action{Do: "take"})
	for _, k := range w.Clocks {
		if k.Stopped.IsZero() {
			t.Errorf("clock %q still runs", k.Title)
		}
	}
}

func sample() Hit {
	return Hit{ID: "h1", Received: monday(), Path: "/media/usb/holiday.zip", Body: &api.Hit{AgentID: "a1", ObservedAt: monday().Add(-time.Minute), Host: api.Host{Name: "gpu-7"},
		User: api.User{Name: "mallory", UID: 1000}, Destination: api.Destination{Class: "removable", Vendor: "SanDisk", Serial: "4C53"},
		Process: &api.Process{Exe: "/usr/bin/cp", Name: "cp", Remote: "192.0.2.7:443"},
		Verdict: api.Verdict{Verdict: api.Identical, Model: "aurora", ModelVersion: "3", Kind: api.KindProtected, Coverage: api.Coverage{Bytes: 1},
			Digests: &api.Digests{SHA256: "aa", BLAKE3: "bb"}}}}
}

func TestObservablesAndVectors(t *testing.T) {
	var got []string
	for _, o := range Observables([]Hit{sample(), sample()}) {
		got = append(got, o.Type+"="+o.Value)
	}
	slices.Sort(got)
	want := []string{"address=192.0.2.7", "device=SanDisk 4C53", "digest=blake3:bb", "digest=sha256:aa", "file=/media/usb/holiday.zip", "host=gpu-7", "model=aurora 3", "process=/usr/bin/cp", "user=mallory"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	server := sample()
	server.Body.User.UID, server.Body.Destination.Class = 0, "network"
	data := sample()
	data.Body.Verdict.Kind = "dataset"
	for name, tc := range map[string]struct {
		hits []Hit
		want string
	}{"person, stick": {[]Hit{sample()}, "insider_copy"}, "service, share": {[]Hit{server}, "weight_theft"}, "data set": {[]Hit{data}, "data_exfiltration"}, "nothing": {nil, ""}} {
		seen := Look(tc.hits, nil)
		if v, _ := seen.Vector(); v != tc.want {
			t.Errorf("%s: %q, want %q", name, v, tc.want)
		}
	}
}

func TestMeasure(t *testing.T) {
	at := func(m int) time.Time { return monday().Add(time.Duration(m) * time.Minute) }
	f := Measure([]Times{
		{Severity: 1, Occurred: at(0), Detected: at(10), Opened: at(12), Acknowledged: at(14), Contained: at(40), Closed: at(130)},
		{Severity: 2, Occurred: at(0), Detected: at(30), Opened: at(31), Acknowledged: at(41)},
	}, map[string]int{"false_positive": 1, "true_positive": 3})
	if f.Detect.Mean != 20*time.Minute || f.Acknowledge.Mean != 6*time.Minute || f.Contain.N != 1 || f.Resolve.Mean != 2*time.Hour || f.Open != 1 ||
		f.FalsePositive != (Share{1, 4}) || f.Closure != (Share{1, 2}) {
		t.Errorf("%+v", f)
	}
}

// Hostile text goes through every form of the report and stays text.
func TestReportsEscape(t *testing.T) {
	evil := "</td><script>alert(1)</script>[x](javascript:alert(1)) \u202egnp.exe | `code` \x1b[31m" + strings.Repeat("A", 70000)
	p := book(t)
	r := p.NewReport(Report{Made: monday(), MadeBy: evil, Case: Case{Number: 7, Title: evil, Summary: evil, TLP: "RED", Subject: evil, OwnerName: evil},
		Timeline: []Event{{At: monday(), By: evil, Kind: "note", Text: evil}}, Observables: []Observable{{Type: "file", Value: evil, Source: evil}},
		Tasks: []TaskItem{{Text: evil, Proof: evil}}, Alerts: []AlertLine{{Path: evil, Host: evil}}, Custody: []Custody{{Item: evil, Purpose: evil}}, Notices: []Notice{{How: evil}}})
	page, err := r.HTML()
	if err != nil {
		t.Fatal(err)
	}
	md := string(r.Markdown())
	for _, bad := range []string{"<script", "\x1b", "\u202e", "[x](javascript", strings.Repeat("A", 3000)} {
		if strings.Contains(string(page), bad) && bad != "[x](javascript" || strings.Contains(md, bad) {
			t.Errorf("%.20q went through", bad)
		}
	}
	if n := strings.Count(md, "\n| 2026"); n != 1 {
		t.Errorf("%d rows of the timeline in Markdown", n)
	}
}
