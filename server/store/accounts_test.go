package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weightwarden/server/store"
)

func testAccounts(t *testing.T, s *store.Store) {
	ctx, admin := t.Context(), actor()
	a, err := s.AddAccount(ctx, admin, store.Account{Name: "Ada.Berg", Roles: []string{"analyst", "approver"}}, "phc one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddAccount(ctx, admin, store.Account{Name: "ADA.berg", Roles: []string{"reader"}}, "phc"); !errors.Is(err, store.ErrConflict) {
		t.Errorf("the same name in other letters: %v", err)
	}
	got, phc, err := s.AccountByName(ctx, " ada.BERG")
	if err != nil || phc != "phc one" || got.ID != a.ID || !got.Temporary || !cmp.Equal(got.Roles, a.Roles) {
		t.Fatalf("%+v, %q, %v", got, phc, err)
	}
	if _, _, err := s.AccountByName(ctx, "nobody"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	session := func() error {
		_, err := s.SessionByCookie(ctx, []byte("cookie"), time.Hour)
		return err
	}
	begin := func() {
		t.Helper()
		if err := s.AddSession(ctx, admin, store.Session{Subject: a.ID, Name: a.Name, Roles: a.Roles, CSRF: "x", Expires: time.Now().Add(time.Hour)}, []byte("cookie")); err != nil {
			t.Fatal(err)
		}
		if err := session(); err != nil {
			t.Fatal(err)
		}
	}
	self := store.Actor{Kind: "user", ID: a.ID, Name: a.Name}
	for name, change := range map[string]func() error{
		"roles":    func() error { return s.SetAccountRoles(ctx, admin, a.ID, []string{"reader"}) },
		"password": func() error { return s.SetPassword(ctx, self, a.ID, "phc two") },
	} {
		begin()
		if err := change(); err != nil {
			t.Error(err)
		}
		if err := session(); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the session outlives a change of %s: %v", name, err)
		}
	}
	if got, phc, err = s.AccountByID(ctx, a.ID); err != nil || got.Temporary || phc != "phc two" || !cmp.Equal(got.Roles, []string{"reader"}) {
		t.Errorf("%+v, %q, %v", got, phc, err)
	}
	begin()
	if err := s.DisableAccount(ctx, admin, a.ID, true); err != nil {
		t.Error(err)
	}
	if err := session(); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the session outlives the account: %v", err)
	}
	if err := s.SetPassword(ctx, admin, "no such", "phc"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	testLocking(t, s, self)
}

// testLocking gives wrong passwords: the waits double, up to a quarter of an hour.
func testLocking(t *testing.T, s *store.Store, self store.Actor) {
	var waits []time.Duration
	for range 14 {
		until, err := s.SignInFailed(t.Context(), self, self.ID)
		if err != nil {
			t.Fatal(err)
		}
		wait := time.Duration(0)
		if !until.IsZero() {
			wait = time.Until(until).Round(10 * time.Second)
		}
		waits = append(waits, wait)
	}
	want := []time.Duration{0, 0, 0, 0, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900}
	for i := range want {
		want[i] *= time.Second
	}
	if !cmp.Equal(waits, want) {
		t.Errorf("waits %v, want %v", waits, want)
	}
	if err := s.SignedIn(t.Context(), self.ID); err != nil {
		t.Fatal(err)
	}
	if a, _, err := s.AccountByID(t.Context(), self.ID); err != nil || a.Failures != 0 || !a.Locked.IsZero() || a.LastUsed.IsZero() {
		t.Errorf("%+v, %v", a, err)
	}
}
