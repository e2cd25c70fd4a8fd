package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

func TestCrewKeepsTheOrder(t *testing.T) {
	var got []string
	var busy, most atomic.Int64
	c := newCrew(4, func(j judged) { got = append(got, j.path) })
	for i := range 200 {
		alone := i%50 == 49
		err := c.add(t.Context(), alone, func() judged {
			n := busy.Add(1)
			defer busy.Add(-1)
			if alone && n != 1 {
				t.Errorf("%d others are at work beside what is to be done alone", n-1)
			}
			most.Store(max(most.Load(), n))
			time.Sleep(time.Duration(i%7) * time.Millisecond)
			return judged{path: fmt.Sprint(i)}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	c.wait()
	if len(got) != 200 || most.Load() != 4 {
		t.Errorf("%d of 200 handed over, %d at a time", len(got), most.Load())
	}
	for i, path := range got {
		if path != fmt.Sprint(i) {
			t.Fatalf("number %d is %s", i, path)
		}
	}
}

func TestCrewStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	taken := 0
	c := newCrew(1, func(judged) { taken++ })
	hold := make(chan struct{})
	if err := c.add(ctx, false, func() judged { <-hold; return judged{} }); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := c.add(ctx, false, func() judged { return judged{} }); !errors.Is(err, context.Canceled) {
		t.Errorf("added though it was stopped: %v", err)
	}
	close(hold)
	if c.wait(); taken != 1 {
		t.Errorf("%d handed over, want 1", taken)
	}
}
