package scan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"weightwarden/agent/agenttest"
	"weightwarden/agent/process"
	"weightwarden/agent/state"
	"weightwarden/agent/watch"
	"weightwarden/internal/api"
)

// nobody names nobody.
type nobody struct{}

func (nobody) Observe(process.FileID) {}

func (nobody) Made(process.FileID, int, time.Time) {}
func (nobody) Who(process.FileID, string, int, time.Time) (*api.Process, string) {
	return nil, "nobody looked"
}

// slowJudge judges by samples at once, and in whole when it is let.
type slowJudge struct{ let chan struct{} }

func (j slowJudge) Judge(ctx context.Context, f api.File, quick bool) (*api.Verdict, error) {
	if !quick {
		select {
		case <-j.let:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &api.Verdict{Verdict: api.NoMatch, Size: f.Size()}, nil
}

// A file that is read in whole does not keep the next one from being judged by
// samples, though there is one worker.
func TestWholeReadingDoesNotHoldUpTriage(t *testing.T) {
	dir := t.TempDir()
	store, err := state.Open(filepath.Join(dir, "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	judge := slowJudge{make(chan struct{})}
	told := make(chan Outcome, 16)
	ctx, cancel := context.WithCancel(context.Background())
	s := New(ctx, Deps{Registry: func() Registry { return Registry{judge, 1} }, Store: store, Who: nobody{}, Gap: func(watch.Gap) {}, Log: t.Logf,
		Report: func(_ context.Context, o Outcome) error { told <- o; return nil }},
		Options{MinSize: 1, Quiet: time.Millisecond, MaxWait: time.Minute, Workers: 1, Queue: 16, QuickAbove: 10, Events: rate.NewLimiter(rate.Inf, 1), Sweeps: rate.NewLimiter(rate.Inf, 1)})
	defer func() { cancel(); s.Wait() }()
	names := []string{"a", "b", "c"}
	for _, n := range names {
		path := filepath.Join(dir, n)
		if err := os.WriteFile(path, make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Submit(watch.Event{Op: watch.Write, Path: path, At: time.Now()})
	}
	for range names {
		if o := <-told; !o.Quick {
			t.Errorf("%s was judged in whole before all were judged by samples", o.Path)
		}
	}
	if s.Idle() {
		t.Error("idle while files wait to be read in whole")
	}
	close(judge.let)
	for range names {
		if o := <-told; o.Quick {
			t.Errorf("%s was judged by samples twice", o.Path)
		}
	}
}

// readJudge reads a file in small pieces, as triage does by rows.
type readJudge struct{}

func (j readJudge) Judge(_ context.Context, f api.File, _ bool) (*api.Verdict, error) {
	for at := int64(0); at < f.Size(); at += 100 {
		if _, err := f.ReadAt(make([]byte, 100), at); err != nil {
			return nil, err
		}
	}
	return &api.Verdict{Verdict: api.Identical, Model: "aurora", Size: f.Size()}, nil
}

// TestSweepAndEventAreOneHit: a file that a sweep and an event bring at the same
// time is judged twice at the most and known to the second report.
func TestSweepAndEventAreOneHit(t *testing.T) {
	dir := t.TempDir()
	store, err := state.Open(filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var mu sync.Mutex
	fresh, all := map[string]int{}, map[string]int{}
	report := func(_ context.Context, o Outcome) error { // as the agent does: the second finds the first
		mu.Lock()
		defer mu.Unlock()
		all[o.Path]++
		if o.Previous == nil {
			fresh[o.Path]++
		}
		return store.Put(o.Info.Key, state.Entry{Stamp: o.Info.Stamp, Path: o.Path, Verdict: o.Verdict.Verdict, Seq: 1, Snapshot: 1, Names: o.Path}, false)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := New(ctx, Deps{Registry: func() Registry { return Registry{readJudge{}, 1} }, Store: store, Who: nobody{}, Gap: func(watch.Gap) {}, Log: t.Logf, Report: report},
		Options{MinSize: 1, Quiet: time.Millisecond, MaxWait: time.Minute, Workers: 2, Queue: 1000, QuickAbove: 1 << 20, Events: rate.NewLimiter(rate.Inf, 1), Sweeps: rate.NewLimiter(rate.Inf, 1)})
	defer func() { cancel(); s.Wait() }()
	const files = 100
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), make([]byte, 10000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(2 * settleFirst) // old enough for a sweep to judge them itself
	swept := make(chan error, 1)
	go func() {
		_, err := s.Sweep(ctx, SweepOptions{Roots: []string{dir}})
		swept <- err
	}()
	for i := range files {
		s.Submit(watch.Event{Op: watch.Write, Path: filepath.Join(dir, fmt.Sprint("f", i)), At: time.Now()})
	}
	if err := <-swept; err != nil {
		t.Fatal(err)
	}
	agenttest.Wait(t, "all files", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(all) >= files && s.Idle()
	})
	mu.Lock()
	defer mu.Unlock()
	for path, n := range fresh {
		if n != 1 {
			t.Errorf("%s was new %d times", path, n)
		}
	}
}

// TestWholeReadingStandsBack: while a file of an event is judged, reads of other
// files wait, but not for ever.
func TestWholeReadingStandsBack(t *testing.T) {
	s := &Scanner{}
	s.yield(t.Context()) // nobody to wait for: returns
	s.urgent.Add(1)
	went := make(chan struct{})
	go func() {
		s.yield(context.Background())
		close(went)
	}()
	select {
	case <-went:
		t.Error("a read went on beside a file of an event")
	case <-time.After(20 * time.Millisecond):
	}
	<-went // by itself, though the file is never done
}

// TestChangedFileIsNotReadToTheEnd: a file that changes while it is read in whole is
// left at once and looked at anew.
func TestChangedFileIsNotReadToTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := Stat(f)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := whileSame(t.Context(), f, info.Stamp)
	defer stop()
	if changedSince(&item{file: f, info: info}) || ctx.Err() != nil {
		t.Error("nothing changed")
	}
	if _, err := f.Write(make([]byte, 200)); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if !errors.Is(context.Cause(ctx), errChanged) || !changedSince(&item{file: f, info: info}) {
		t.Errorf("ended by %v", context.Cause(ctx))
	}
}
