package store_test

import (
	"testing"
	"time"

	"weightwarden/server/store"
)

// A checkpoint goes to syslog targets once, the newest in place of older ones.
func testCheckpoints(t *testing.T, s *store.Store) {
	ctx := t.Context()
	send := func(entries int64) {
		t.Helper()
		if err := s.SendCheckpoint(ctx, store.Checkpoint{Entries: entries, Signed: "note"}); err != nil {
			t.Fatal(err)
		}
	}
	claim := func() []store.Delivery {
		t.Helper()
		list, err := s.ClaimDeliveries(ctx, 10, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if _, err := s.AddTarget(ctx, actor(), store.Target{Name: "hook", Kind: "webhook", URL: "https://soc.example/", Format: "native", Secret: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	send(3)
	if list := claim(); len(list) != 0 {
		t.Fatalf("no syslog target, and %d messages", len(list))
	}
	siem, err := s.AddTarget(ctx, actor(), store.Target{Name: "siem", Kind: "syslog", URL: "tls://siem.example:6514", Format: "cef", Secret: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	send(5)
	send(9)
	send(9)
	send(7) // another server that was slower
	list := claim()
	if len(list) != 1 || list[0].Target.ID != siem.ID || list[0].Checkpoint == nil || list[0].Checkpoint.Entries != 9 || list[0].Notice != nil {
		t.Fatalf("%+v", list)
	}
	if err := s.SettleDelivery(ctx, list[0], nil); err != nil {
		t.Fatal(err)
	}
	send(10)
	if list := claim(); len(list) != 1 || list[0].Checkpoint.Entries != 10 {
		t.Fatalf("%+v", list)
	}
}
