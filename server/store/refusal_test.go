package store_test

import (
	"fmt"
	"testing"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/store"
)

// An agent that begins to refuse its registry is told of once; ten more within the
// hour are only counted.
func testRefusals(t *testing.T, s *store.Store) {
	ctx := t.Context()
	if _, err := s.AddTarget(ctx, actor(), store.Target{Name: "soc", Kind: "webhook", URL: "https://soc.example/", Format: "ocsf", Secret: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	tok, err := s.AddEnrolToken(ctx, actor(), store.EnrolToken{UsesLeft: 20, Expires: time.Now().Add(time.Hour)}, []byte("secret"))
	if err != nil {
		t.Fatal(err, tok)
	}
	beat := func(n int, health ...api.Health) {
		t.Helper()
		hb := &api.Heartbeat{Host: api.Host{Name: fmt.Sprint("gpu-", n), Machine: fmt.Sprint(n)}, Health: health}
		if err := s.Heartbeat(ctx, fmt.Sprint("agent-", n), hb); err != nil {
			t.Fatal(err)
		}
	}
	refused := api.Health{Code: api.HealthRegistryRefused, Severity: "error", Text: "manifest refused: epoch 4, held 5"}
	for n := range 11 {
		if _, err := s.Enrol(ctx, []byte("secret"), store.Agent{ID: fmt.Sprint("agent-", n)}, ""); err != nil {
			t.Fatal(err)
		}
		beat(n)
		beat(n, refused)
		beat(n, refused)
	}
	fleet, err := s.Fleet(ctx)
	if err != nil || fleet.Refusing != 11 {
		t.Errorf("%d agents refuse, %v", fleet.Refusing, err)
	}
	list, err := s.ClaimDeliveries(ctx, 100, time.Hour)
	if err != nil || len(list) != 1 || list[0].Event != store.EventRegistryRefused || list[0].Notice.Agent != "agent-0" {
		t.Fatalf("%+v, %v", list, err)
	}
	beat(3)
	if fleet, err := s.Fleet(ctx); err != nil || fleet.Refusing != 10 {
		t.Errorf("%d agents refuse, %v", fleet.Refusing, err)
	}
}
