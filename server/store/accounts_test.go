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
	got, err := s.BeginAttempt(ctx, " ada.BERG")
	if err != nil || got.PHC != "phc one" || got.Account.ID != a.ID || !got.Account.Temporary || !cmp.Equal(got.Account.Roles, a.Roles) {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := s.BeginAttempt(ctx, "nobody"); err != nil || got.Account.ID != "" || got.PHC != "" || got.Wait != 0 {
		t.Errorf("%+v, %v", got, err)
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
		"password": func() error { return s.SetPassword(ctx, admin, a.ID, "phc one") },
	} {
		begin()
		if err := change(); err != nil {
			t.Error(err)
		}
		if err := session(); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the session outlives a change of %s: %v", name, err)
		}
	}
	if err := s.ChangePassword(ctx, self, a.ID, "phc none", "phc two"); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a change of another password: %v", err)
	}
	begin()
	if err := s.ChangePassword(ctx, self, a.ID, "phc one", "phc two"); err != nil {
		t.Error(err)
	}
	if err := session(); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the session outlives the password: %v", err)
	}
	if got, phc, err := s.AccountByID(ctx, a.ID); err != nil || got.Temporary || phc != "phc two" || !cmp.Equal(got.Roles, []string{"reader"}) {
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
	testSessionOfWhatIsGone(t, s, a)
}

// A session does not begin when what it was begun with ended in the meantime.
func testSessionOfWhatIsGone(t *testing.T, s *store.Store, a store.Account) {
	ctx, admin := t.Context(), actor()
	ends := time.Now().Add(time.Hour)
	add := func(sess store.Session) error {
		sess.Expires = ends
		return s.AddSession(ctx, admin, sess, []byte("another"))
	}
	of := store.Session{Subject: a.ID, Name: a.Name, Roles: a.Roles, PHC: "phc two"}
	if err := add(of); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of a disabled account: %v", err)
	}
	if err := s.DisableAccount(ctx, admin, a.ID, false); err != nil {
		t.Fatal(err)
	}
	of.PHC = "phc one"
	if err := add(of); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("by the password before: %v", err)
	}
	of.PHC = "phc two"
	if err := add(of); err != nil {
		t.Error(err)
	}
	tok, err := s.AddToken(ctx, admin, store.Token{Name: "x", Roles: []string{"reader"}}, []byte("secret of it"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RevokeToken(ctx, admin, tok.ID); err != nil {
		t.Fatal(err)
	}
	if err := add(store.Session{Subject: tok.ID, Name: "x", TokenID: tok.ID}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of a revoked token: %v", err)
	}
}

// Names wait the same whether somebody has them or not; a right password, and nothing
// else, ends it for accounts.
func testAttempts(t *testing.T, s *store.Store) {
	ctx := t.Context()
	a, err := s.AddAccount(ctx, actor(), store.Account{Name: "ada", Roles: []string{"reader"}}, "phc")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ada", "eve"} {
		for n := range 6 {
			got, err := s.BeginAttempt(ctx, name)
			if err != nil || (got.Wait > 0) != (n == 5) {
				t.Errorf("%s, attempt %d: wait %v, %v", name, n+1, got.Wait, err)
			}
			if n == 5 {
				continue
			}
			if err := s.AttemptFailed(ctx, got, "192.0.2.1"); err != nil {
				t.Error(err)
			}
		}
	}
	sess := store.Session{Subject: a.ID, Name: a.Name, Roles: a.Roles, PHC: "phc", Expires: time.Now().Add(time.Hour)}
	if err := s.AddSession(ctx, actor(), sess, []byte("cookie")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.BeginAttempt(ctx, "Ada"); err != nil || got.Wait > 0 || got.Account.LastUsed.IsZero() {
		t.Errorf("after a right password: %+v, %v", got, err)
	}
	if got, err := s.BeginAttempt(ctx, "EVE "); err != nil || got.Wait <= 0 {
		t.Errorf("nobody's name in other letters: %+v, %v", got, err)
	}
}

// A passkey begins one session for each question, while it and its account are good.
func testPasskeys(t *testing.T, s *store.Store) {
	ctx := t.Context()
	a, err := s.AddAccount(ctx, actor(), store.Account{Name: "ada", Roles: []string{"reader"}}, "first")
	if err != nil {
		t.Fatal(err)
	}
	key := store.Passkey{ID: "k1", Account: a.ID, Name: "blue key", Record: []byte("{}")}
	if err := s.AddPasskey(ctx, actor(), key); !errors.Is(err, store.ErrConflict) {
		t.Errorf("while the first password is good: %v", err)
	}
	if err := s.ChangePassword(ctx, actor(), a.ID, "first", "own"); err != nil {
		t.Fatal(err)
	}
	if err := s.AddPasskey(ctx, actor(), key); err != nil {
		t.Fatal(err)
	}
	if err := s.AddPasskey(ctx, actor(), key); !errors.Is(err, store.ErrConflict) {
		t.Errorf("the same again: %v", err)
	}
	asked := time.Now().Truncate(time.Microsecond)
	begin := func(id string, asked time.Time) error {
		sess := store.Session{Subject: a.ID, Name: a.Name, Roles: a.Roles, Expires: time.Now().Add(time.Hour), Passkey: &store.PasskeyUse{ID: id, Record: []byte(`{"n":1}`), Begun: asked}}
		return s.AddSession(ctx, actor(), sess, []byte(store.NewID()))
	}
	if err := begin("k1", asked); err != nil {
		t.Error(err)
	}
	keys, err := s.Passkeys(ctx, a.ID)
	if err != nil || len(keys) != 1 || string(keys[0].Record) != `{"n":1}` || !keys[0].LastUsed.Equal(asked) || keys[0].Name != "blue key" {
		t.Errorf("%+v, %v", keys, err)
	}
	for why, try := range map[string]func() error{"the same question": func() error { return begin("k1", asked) }, "another passkey": func() error { return begin("k2", asked.Add(time.Second)) }} {
		if err := try(); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", why, err)
		}
	}
	if err := s.DeletePasskey(ctx, actor(), "somebody else", "k1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another's passkey: %v", err)
	}
	if err := s.DisableAccount(ctx, actor(), a.ID, true); err != nil {
		t.Fatal(err)
	}
	if err := begin("k1", asked.Add(time.Second)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of a disabled account: %v", err)
	}
	if err := s.SetPassword(ctx, actor(), a.ID, "reset"); err != nil {
		t.Fatal(err)
	}
	if keys, err := s.Passkeys(ctx, a.ID); err != nil || len(keys) > 0 {
		t.Errorf("after a reset: %+v, %v", keys, err)
	}
}

// The waits double, up to a quarter of an hour.
func TestLockAfter(t *testing.T) {
	for failures, seconds := range []int{0, 0, 0, 0, 0, 10, 20, 40, 80, 160, 320, 640, 900, 900} {
		if got := store.LockAfter(failures); got != time.Duration(seconds)*time.Second {
			t.Errorf("after %d: %v, want %d s", failures, got, seconds)
		}
	}
	if got := store.LockAfter(1 << 30); got != 15*time.Minute {
		t.Errorf("after very many: %v", got)
	}
}
