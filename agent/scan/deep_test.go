package scan

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"weightwarden/agent/process"
	"weightwarden/agent/state"
	"weightwarden/agent/watch"
	"weightwarden/internal/api"
)

// nobody names nobody.
type nobody struct{}

func (nobody) Observe(process.FileID) {}
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
