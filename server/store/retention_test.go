package store_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weightwarden/internal/api"
	"weightwarden/server/store"
	"weightwarden/server/store/storetest"
)

// Only what is past its time, closed and not held goes; the audit log says how much.
func testRetention(t *testing.T, s *store.Store) {
	ctx := t.Context()
	now := time.Now()
	users := []string{"gone", "open", "held", "cased"}
	alerts := map[string]string{}
	for i, user := range users {
		h := hit(uint64(i + 1))
		h.User.Name, h.Verdict.Path = user, "/"+user
		if _, err := s.AddHits(ctx, "a1", []api.Hit{h}, always(2)); err != nil {
			t.Fatal(err)
		}
		list, err := s.Alerts(ctx, store.AlertFilter{Limit: 1, User: user})
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		alerts[user] = list[0].ID
	}
	closed, inCase := store.AlertClosed, "case-1"
	for _, user := range []string{"gone", "held", "cased"} {
		c := store.AlertChange{State: &closed}
		if user == "cased" {
			c.CaseID = &inCase
		}
		if err := s.ChangeAlert(ctx, actor(), alerts[user], c); err != nil {
			t.Fatal(err)
		}
	}
	hold, err := s.AddHold(ctx, actor(), store.Hold{Kind: store.HoldUser, Ref: "held", Reason: "counsel"})
	if err != nil {
		t.Fatal(err)
	}
	if counts, err := s.Purge(ctx, store.ServerActor(), now); err != nil || counts["hits"] != 0 {
		t.Fatalf("without a setting: %v, %v", counts, err)
	}
	if err := s.SetRetention(ctx, actor(), store.Retention{Hits: 30, Alerts: 30, Copies: 30}); err != nil {
		t.Fatal(err)
	}
	purge := func(want map[string]int64) {
		t.Helper()
		counts, err := s.Purge(ctx, store.ServerActor(), now)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, counts); diff != "" {
			t.Error(diff)
		}
	}
	purge(map[string]int64{"hits": 0, "alerts": 0, "copies": 0})
	now = now.Add(31 * 24 * time.Hour)
	purge(map[string]int64{"hits": 1, "alerts": 1, "copies": 3}) // the inventory forgets what was not seen for long
	if err := s.LiftHold(ctx, actor(), hold.ID); !errors.Is(err, store.ErrConflict) {
		t.Errorf("who put the hold lifts it: %v", err)
	}
	if err := s.LiftHold(ctx, store.Actor{Kind: "token", ID: "second"}, hold.ID); err != nil {
		t.Fatal(err)
	}
	purge(map[string]int64{"hits": 1, "alerts": 1, "copies": 1})
	hits, err := s.Hits(ctx, store.HitFilter{Limit: 10})
	if err != nil || len(hits) != 2 || hits[0].User != "cased" || hits[1].User != "open" {
		t.Errorf("left: %+v, %v", hits, err)
	}
	if n, err := s.AddHits(ctx, "a1", []api.Hit{hit(1)}, always(2)); err != nil || n != 1 {
		t.Errorf("a purged hit that is delivered again: %d, %v", n, err)
	}
}

// Evidence of a restricted case is kept as that of any other, though its alerts do not
// name it and whoever knows nothing of it may close them.
func testRetentionOfRestrictedCases(t *testing.T, s *store.Store) {
	ctx := t.Context()
	if _, err := s.AddHits(ctx, "a1", []api.Hit{hit(1)}, always(2)); err != nil {
		t.Fatal(err)
	}
	list, err := s.Alerts(ctx, store.AlertFilter{Limit: 1})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if _, err := s.OpenCase(ctx, actor(), pb(t), store.NewCase{Title: "quiet", Severity: 1, TLP: "RED", Restricted: true, Alerts: []string{list[0].ID}}); err != nil {
		t.Fatal(err)
	}
	closed := store.AlertClosed
	if err := s.ChangeAlert(ctx, store.Actor{Kind: "user", ID: "colleague"}, list[0].ID, store.AlertChange{State: &closed}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetRetention(ctx, actor(), store.Retention{Hits: 1, Alerts: 1}); err != nil {
		t.Fatal(err)
	}
	counts, err := s.Purge(ctx, store.ServerActor(), time.Now().Add(31*24*time.Hour))
	if err != nil || counts["hits"]+counts["alerts"] != 0 {
		t.Errorf("purged %v, %v", counts, err)
	}
}

// Everything goes to the other engine and back, and is the same.
func TestCopyToTheOtherEngineAndBack(t *testing.T) {
	ctx := t.Context()
	admin := storetest.Postgres(t)
	first := storetest.Open(t, store.Config{Path: filepath.Join(t.TempDir(), "a.db")})
	testHitsBecomeAlertsOnce(t, first)
	testSweeps(t, first)
	if _, err := first.PutPolicy(ctx, actor(), store.Policy{Name: "p"}); err != nil {
		t.Fatal(err)
	}
	middle := storetest.Open(t, store.Config{URL: storetest.Database(t, admin, "middle")})
	n, err := first.CopyAll(ctx, middle)
	if err != nil || n == 0 {
		t.Fatalf("%d rows, %v", n, err)
	}
	last := storetest.Open(t, store.Config{Path: filepath.Join(t.TempDir(), "b.db")})
	if back, err := middle.CopyAll(ctx, last); err != nil || back != n {
		t.Fatalf("%d rows of %d, %v", back, n, err)
	}
	if _, err := first.CopyAll(ctx, middle); !errors.Is(err, store.ErrConflict) {
		t.Errorf("over a database in use: %v", err)
	}
	a, err1 := first.AuditTree(ctx)
	b, err2 := last.AuditTree(ctx)
	if err := errors.Join(err1, err2); err != nil || a != b {
		t.Errorf("audit %v, then %v, %v", a, b, err)
	}
	x, err1 := first.Hits(ctx, store.HitFilter{Limit: 100})
	y, err2 := last.Hits(ctx, store.HitFilter{Limit: 100})
	if err := errors.Join(err1, err2); err != nil || len(x) == 0 {
		t.Fatal(len(x), err)
	}
	if diff := cmp.Diff(x, y); diff != "" {
		t.Error(diff)
	}
}
