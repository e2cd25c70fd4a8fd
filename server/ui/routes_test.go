package ui

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weightwarden/server/auth"
	"weightwarden/server/cases"
	"weightwarden/server/store"
	"weightwarden/server/store/storetest"
)

func newConsole(t *testing.T) (*Console, http.Handler) {
	t.Helper()
	pb, err := cases.PB53()
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Store: storetest.Open(t, store.Config{Path: filepath.Join(t.TempDir(), "test.db")}), Playbook: pb, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Sessions: Sessions{Life: time.Hour, Idle: time.Hour}, AuthFailed: func(string) {}, Passwords: auth.NewHasher(1, 1), Rates: auth.NewRates(1e6, 1e6)})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	c.Register(mux)
	return c, mux
}

// session stores one; its cookie is its name, and so is its CSRF token.
func (c *Console) session(t *testing.T, name string, roles ...string) {
	t.Helper()
	sess := store.Session{Subject: name, Name: name, Roles: roles, CSRF: name, Expires: time.Now().Add(time.Hour)}
	if err := c.store.AddSession(t.Context(), store.ServerActor(), sess, []byte(name)); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, h http.Handler, rt route, cookie, csrf string) int {
	t.Helper()
	path := strings.NewReplacer("{$}", "", "{", "", "}", "").Replace(rt.pattern)
	req := httptest.NewRequestWithContext(t.Context(), rt.method, path, strings.NewReader(url.Values{"csrf": {csrf}}.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.AddCookie(&http.Cookie{Name: cookieName, Value: cookie})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Code
}

// Every form, with no CSRF token and with that of another session: nothing is done.
func TestEveryFormNeedsItsToken(t *testing.T) {
	c, h := newConsole(t)
	c.session(t, "somebody", auth.Roles()...)
	c.session(t, "other", auth.Roles()...)
	forms := 0
	for _, rt := range c.routes() {
		if rt.method != http.MethodPost {
			continue
		}
		forms++
		for _, csrf := range []string{"", "other"} {
			if status := ask(t, h, rt, "somebody", csrf); status != http.StatusForbidden {
				t.Errorf("POST %s with the CSRF token %q: %d", rt.pattern, csrf, status)
			}
		}
	}
	if _, err := c.store.SessionByCookie(t.Context(), []byte("somebody"), time.Hour); forms == 0 || err != nil {
		t.Errorf("after %d forms the session: %v", forms, err)
	}
}

// Every page with every role: who lacks its permission is refused, a stranger is sent to
// the sign-in.
func TestEveryPageByEveryRole(t *testing.T) {
	c, h := newConsole(t)
	for _, role := range auth.Roles() {
		c.session(t, role, role)
	}
	for _, rt := range c.routes() {
		if rt.need == auth.Public {
			continue
		}
		if status := ask(t, h, rt, "nobody", ""); status != http.StatusSeeOther {
			t.Errorf("%s %s as nobody: %d", rt.method, rt.pattern, status)
		}
		for _, role := range auth.Roles() {
			if rt.need == signedIn || (&auth.Principal{Roles: []string{role}}).May(rt.need) {
				continue // forms would be carried out
			}
			if status := ask(t, h, rt, role, role); status != http.StatusForbidden {
				t.Errorf("%s %s as %s: %d", rt.method, rt.pattern, role, status)
			}
		}
	}
}
