package cases

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// situation brings a case to where a group of the playbook applies.
func situation(t *testing.T, w *Work, g Group) {
	t.Helper()
	switch g.ID {
	case "contain.immediate":
		must(t, w.SetFact("accessed", true, "hit"))
	case "contain.extraction":
		must(t, w.Classify("api_extraction"))
	case "contain.insider":
		must(t, w.Classify("insider_copy"))
	case "eradicate", "recovery", "post":
		for w.Case.Phase != g.Phase {
			must(t, w.Advance(&State{Case: w.Case, Tasks: w.Tasks}, "the test wants it there"))
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Each line of the playbook's lists becomes a task where it applies, with its
// timer, and ends only with what the playbook asks for.
func TestEveryTask(t *testing.T) {
	for _, g := range book(t).Groups {
		for _, rule := range g.Tasks {
			key := g.ID + "." + rule.ID
			t.Run(key, func(t *testing.T) {
				w := begin(t)
				if g.ID != "triage" {
					if _, err := w.task(key); err == nil {
						t.Fatal("the task is there before it applies")
					}
				}
				situation(t, w, g)
				number(w)
				task, err := w.task(key)
				if err != nil || task.State != TaskOpen || !strings.HasPrefix(task.Text, rule.Text) {
					t.Fatalf("%+v, %v", task, err)
				}
				clock, cerr := w.clock("task:" + key)
				if g.Minutes > 0 && (cerr != nil || clock.Due.Sub(clock.Started) != time.Duration(g.Minutes)*time.Minute) {
					t.Errorf("no timer of %d minutes: %+v, %v", g.Minutes, clock, cerr)
				}
				if err := w.SettleTask(key, TaskDone, "", ""); g.Proof && !errors.Is(err, ErrRefused) {
					t.Errorf("done without proof: %v", err)
				}
				if err := w.SettleTask(key, TaskDone, "log event 7", ""); err != nil {
					t.Error(err)
				}
				if g.Minutes > 0 && !clock.Kept() {
					t.Error("the timer still runs")
				}
			})
		}
	}
}

// docs/playbook-pb53.md has a row for each task, vector, fact that tells somebody,
// and row of the matrix.
func TestPlaybookDocument(t *testing.T) {
	b, err := os.ReadFile("../../docs/playbook-pb53.md")
	if err != nil {
		t.Fatal(err)
	}
	doc, p := string(b), book(t)
	want := func(cell, test string) {
		t.Helper()
		if !strings.Contains(doc, "| "+cell) || !strings.Contains(doc, test) {
			t.Errorf("no row for %q with %s", cell, test)
		}
	}
	for _, g := range p.Groups {
		for _, k := range g.Tasks {
			if g.ID != "eradicate" {
				want(k.Text+" |", "`TestEveryTask/"+g.ID+"."+k.ID+"`")
			}
			if k.Link != "" && g.ID != "eradicate" && !strings.Contains(doc, "`"+k.Link+"`") {
				t.Errorf("%s: the row does not lead to %s", k.ID, k.Link)
			}
		}
	}
	for _, v := range p.Vectors {
		want(v.Name, strings.Join(v.Techniques, ", "))
	}
	for _, f := range p.Facts {
		if len(f.Notify) > 0 {
			want(f.Text+" |", strings.Join(f.Notify, ", ")+", and nobody else")
		}
	}
	for _, r := range p.Matrix {
		want(r.Condition+" |", r.Decision+". "+strings.Join(r.Owners, " + ")+". "+r.SLA)
	}
}
