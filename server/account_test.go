package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/store"
)

// signIn posts name and password and returns the status, with the browser.
func (r *running) signIn(t *testing.T, name, password string) (*http.Client, *http.Response) {
	t.Helper()
	c := r.browse(t)
	return c, r.post(t, c, "/login", url.Values{"name": {name}, "password": {password}})
}

func csrfOf(t *testing.T, body []byte) string {
	t.Helper()
	_, rest, ok := strings.Cut(string(body), `name="csrf" value="`)
	if !ok {
		t.Fatalf("no session: %.300s", body)
	}
	return rest[:strings.IndexByte(rest, '"')]
}

// The first password opens nothing but the page where it is changed; what it was
// changed to opens the console, until an administrator disables the account.
func TestAccount(t *testing.T) {
	r := start(t)
	a := must[api.AccountAnswer](t, r, "POST", api.PathAccounts, api.AccountRequest{Name: "Ada.Berg", Roles: []string{"analyst"}})
	if status, _, _ := r.send(t, r.anon, r.token, "POST", api.PathAccounts, api.AccountRequest{Name: "ada.berg", Roles: []string{"reader"}}); status != http.StatusConflict {
		t.Errorf("the same name again: %d", status)
	}
	c, resp := r.signIn(t, "ada.berg", a.Password)
	if resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("sign-in: %d", resp.StatusCode)
	}
	for _, page := range []string{"/", "/hits", "/settings"} {
		if status, _, _ := r.send(t, c, "", "GET", page, nil); status != http.StatusSeeOther {
			t.Errorf("%s opens with the first password: %d", page, status)
		}
	}
	_, _, body := r.send(t, c, "", "GET", "/account", nil)
	csrf := csrfOf(t, body)
	const fresh = "a better one than that"
	for name, bad := range map[string]url.Values{
		"wrong old one": {"password": {"x"}, "fresh": {fresh}, "again": {fresh}}, "too short": {"password": {a.Password}, "fresh": {"short"}, "again": {"short"}},
		"not twice the same": {"password": {a.Password}, "fresh": {fresh}, "again": {fresh + "!"}}, "the old one": {"password": {a.Password}, "fresh": {a.Password}, "again": {a.Password}},
	} {
		bad.Set("csrf", csrf)
		if resp := r.post(t, c, "/account", bad); resp.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
	form := url.Values{"password": {a.Password}, "fresh": {fresh}, "again": {fresh}}
	if resp := r.post(t, c, "/account", form); resp.StatusCode != http.StatusForbidden {
		t.Errorf("without the CSRF token: %d", resp.StatusCode)
	}
	form.Set("csrf", csrf)
	if resp := r.post(t, c, "/account", form); resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("change: %d", resp.StatusCode)
	}
	if status, _, _ := r.send(t, c, "", "GET", "/hits", nil); status != http.StatusOK {
		t.Errorf("after the change: %d", status)
	}
	if _, resp := r.signIn(t, "Ada.Berg", a.Password); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the first password still opens: %d", resp.StatusCode)
	}
	must[struct{}](t, r, "PUT", api.PathAccounts+"/"+a.ID+"/roles", api.AccountRoles{Roles: []string{"registrar"}})
	if status, _, _ := r.send(t, c, "", "GET", "/hits", nil); status != http.StatusSeeOther {
		t.Errorf("the session outlives a change of roles: %d", status)
	}
	c, _ = r.signIn(t, "Ada.Berg", fresh)
	if status, _, _ := r.send(t, c, "", "GET", "/hits", nil); status != http.StatusForbidden {
		t.Errorf("a registrar reads hits: %d", status)
	}
	must[struct{}](t, r, "PUT", api.PathAccounts+"/"+a.ID+"/state", api.AccountState{State: "disabled"})
	if status, _, _ := r.send(t, c, "", "GET", "/models", nil); status != http.StatusSeeOther {
		t.Errorf("the session outlives the account: %d", status)
	}
	if _, resp := r.signIn(t, "Ada.Berg", fresh); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a disabled account: %d", resp.StatusCode)
	}
}

// An administrator makes accounts and changes them on the settings page, others' only.
func TestPeopleOnTheConsole(t *testing.T) {
	r := start(t)
	c, csrf := r.signedIn(t, r.token)
	post := func(c *http.Client, csrf, path string, form url.Values) (int, string) {
		t.Helper()
		form.Set("csrf", csrf)
		resp, err := c.PostForm(r.url+path, form)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	password := func(status, want int, page string) string {
		t.Helper()
		_, rest, ok := strings.Cut(page, `class="secret">`)
		if status != want || !ok {
			t.Fatalf("%d: %.300s", status, page)
		}
		return rest[:strings.IndexByte(rest, '<')]
	}
	for name, bad := range map[string]url.Values{"no role": {"name": {"ada"}}, "no name": {"role": {"reader"}}, "such a role": {"name": {"ada"}, "role": {"god"}}, "such a name": {"name": {"<b>"}, "role": {"reader"}}} {
		if status, _ := post(c, csrf, "/settings/accounts", bad); status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", name, status)
		}
	}
	status, page := post(c, csrf, "/settings/accounts", url.Values{"name": {"ada"}, "role": {"admin", "reader"}})
	first := password(status, http.StatusCreated, page)
	accounts := must[api.List[api.AccountInfo]](t, r, "GET", api.PathAccounts, nil)
	if len(accounts.Items) != 1 || !slices.Equal(accounts.Items[0].Roles, []string{"admin", "reader"}) {
		t.Fatalf("%+v", accounts.Items)
	}
	ada := "/settings/accounts/" + accounts.Items[0].ID
	if _, _, body := r.send(t, c, "", "GET", ada, nil); strings.Contains(string(body), first) {
		t.Error("the password is shown again")
	}
	own, _ := r.signIn(t, "ada", first)
	_, _, body := r.send(t, own, "", "GET", "/account", nil)
	const fresh = "a better one than that"
	post(own, csrfOf(t, body), "/account", url.Values{"password": {first}, "fresh": {fresh}, "again": {fresh}})
	_, _, body = r.send(t, own, "", "GET", "/settings", nil)
	for path, form := range map[string]url.Values{"/roles": {"role": auth.Roles()}, "/state": {"state": {"disabled"}}, "/password": {}} {
		if status, _ := post(own, csrfOf(t, body), ada+path, form); status != http.StatusUnprocessableEntity {
			t.Errorf("her own %s: %d", path, status)
		}
	}
	status, page = post(c, csrf, ada+"/password", url.Values{})
	second := password(status, http.StatusOK, page)
	if status, _, _ := r.send(t, own, "", "GET", "/models", nil); status != http.StatusSeeOther {
		t.Errorf("the session outlives a reset: %d", status)
	}
	for p, want := range map[string]int{fresh: http.StatusUnauthorized, second: http.StatusSeeOther} {
		if _, resp := r.signIn(t, "ada", p); resp.StatusCode != want {
			t.Errorf("after the reset, with %q: %d", p, resp.StatusCode)
		}
	}
	post(c, csrf, ada+"/roles", url.Values{"role": {"auditor"}})
	post(c, csrf, ada+"/state", url.Values{"state": {"disabled"}})
	accounts = must[api.List[api.AccountInfo]](t, r, "GET", api.PathAccounts, nil)
	if a := accounts.Items[0]; a.State != "disabled" || !slices.Equal(a.Roles, []string{"auditor"}) {
		t.Errorf("%+v", a)
	}
}

// Wrong passwords lock a name for a time, the right one too; other names go on.
func TestGuessingPasswords(t *testing.T) {
	r := start(t)
	a := must[api.AccountAnswer](t, r, "POST", api.PathAccounts, api.AccountRequest{Name: "ada", Roles: []string{"analyst"}})
	b := must[api.AccountAnswer](t, r, "POST", api.PathAccounts, api.AccountRequest{Name: "ben", Roles: []string{"analyst"}})
	for range 5 {
		if _, resp := r.signIn(t, "ada", "wrong password"); resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("a wrong password: %d", resp.StatusCode)
		}
	}
	if _, resp := r.signIn(t, "ada", a.Password); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("after five: %d", resp.StatusCode)
	}
	if _, resp := r.signIn(t, "ben", b.Password); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("another name: %d", resp.StatusCode)
	}
	for i := range 20 {
		r.signIn(t, fmt.Sprint("nobody", i), "wrong password")
	}
	if _, resp := r.signIn(t, "ben", b.Password); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("an address after 25 wrong passwords: %d", resp.StatusCode)
	}
	r.signedIn(t, r.token) // a right token is no guess, whatever its neighbours try
}

// Many guesses at once are no more than one after the other.
func TestGuessingAtOnce(t *testing.T) {
	r := start(t)
	a := must[api.AccountAnswer](t, r, "POST", api.PathAccounts, api.AccountRequest{Name: "ada", Roles: []string{"analyst"}})
	answers := make(chan int, 15)
	for range cap(answers) {
		go func() {
			resp, err := r.anon.PostForm(r.url+"/login", url.Values{"name": {"ada"}, "password": {"wrong password"}})
			if err != nil {
				answers <- 0
				return
			}
			resp.Body.Close()
			answers <- resp.StatusCode
		}()
	}
	looked := 0
	for range cap(answers) {
		if <-answers == http.StatusUnauthorized {
			looked++
		}
	}
	if looked == 0 || looked > 5 {
		t.Errorf("%d of 15 passwords were looked at, want 1 to 5", looked)
	}
	if _, resp := r.signIn(t, "ada", a.Password); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("after that: %d", resp.StatusCode)
	}
}

// What a stranger is told about a name is the same whether somebody has it or not.
func TestNamesAreNotToldApart(t *testing.T) {
	now := time.Now() // stands still: the times to wait are the same to the second
	r := startWith(t, t.TempDir(), func(cfg *Config) { cfg.Now = func() time.Time { return now } })
	must[api.AccountAnswer](t, r, "POST", api.PathAccounts, api.AccountRequest{Name: "ada", Roles: []string{"analyst"}})
	tell := func(name string) (told []string) {
		for range 7 {
			_, resp := r.signIn(t, name, "wrong password")
			told = append(told, resp.Status+" "+resp.Header.Get("Retry-After"))
		}
		return told
	}
	known, unknown := tell("ada"), tell("eve")
	if !slices.Equal(known, unknown) {
		t.Errorf("a name of somebody: %q\nof nobody: %q", known, unknown)
	}
}

// A session ends when nobody used it; what pages ask for by themselves is no use.
func TestIdleSessionsEnd(t *testing.T) {
	now := newClock()
	r := startWith(t, t.TempDir(), func(cfg *Config) { cfg.Now = now.time })
	c, _ := r.signedIn(t, r.token)
	open := func() bool {
		status, _, _ := r.send(t, c, "", "GET", "/models", nil)
		return status == http.StatusOK
	}
	now.add(defaultIdle - time.Minute)
	if !open() {
		t.Fatal("the session ended early")
	}
	now.add(defaultIdle - time.Minute)
	if !open() {
		t.Error("use did not keep the session")
	}
	now.add(defaultIdle + time.Minute)
	if open() {
		t.Error("the session outlived two hours without use")
	}
}

// A session that was planted in the browser ends with the sign-in, which gets another
// cookie; other sites cannot post the form.
func TestSignInStartsAnotherSession(t *testing.T) {
	r := start(t)
	cookie := func(c *http.Client) string {
		u, err := url.Parse(r.url)
		if err != nil {
			t.Fatal(err)
		}
		return c.Jar.Cookies(u)[0].Value
	}
	victim, csrf := r.signedIn(t, r.token)
	planted := cookie(victim)
	if resp := r.post(t, victim, "/login", url.Values{"token": {r.token}, "csrf": {csrf}}); resp.StatusCode != http.StatusSeeOther || cookie(victim) == planted {
		t.Errorf("sign-in: %d, and the cookie is the planted one: %v", resp.StatusCode, cookie(victim) == planted)
	}
	if _, err := r.store.SessionByCookie(t.Context(), []byte(planted), time.Hour); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the planted session: %v", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", r.url+"/login", strings.NewReader(url.Values{"token": {r.token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := r.browse(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || len(resp.Cookies()) > 0 {
		t.Errorf("from another site: %d", resp.StatusCode)
	}
}

// A session ends after its time, used or not.
func TestSessionsEnd(t *testing.T) {
	now := newClock()
	r := startWith(t, t.TempDir(), func(cfg *Config) {
		cfg.Now, cfg.SessionLife, cfg.SessionIdle = now.time, 3*time.Hour, 2*time.Hour
	})
	c, _ := r.signedIn(t, r.token)
	for hour, want := range []int{http.StatusOK, http.StatusOK, http.StatusOK, http.StatusSeeOther} {
		if status, _, _ := r.send(t, c, "", "GET", "/models", nil); status != want {
			t.Errorf("in hour %d: %d, want %d", hour, status, want)
		}
		now.add(time.Hour + time.Minute)
	}
}

// A token is good for what it was made for only.
func TestScopedTokens(t *testing.T) {
	r := start(t)
	ci := must[api.TokenAnswer](t, r, "POST", api.PathTokens, api.TokenRequest{Name: "ci", Roles: []string{"registrar"}, Models: []string{"team-a-*"}, Networks: []string{"127.0.0.0/8"}})
	for name, want := range map[string]int{"team-a-large": http.StatusOK, "team-b-large": http.StatusForbidden} {
		if status, _, body := r.send(t, r.anon, ci.Token, "PUT", api.PathModels+"/"+name, api.ModelDescription{Kind: api.KindProtected}); status != want {
			t.Errorf("%s: %d %s", name, status, body)
		}
		status, _, _ := r.send(t, r.anon, ci.Token, "POST", api.PathModels+"/"+name+"/versions/1/artifacts", api.NewArtifact{Name: "b", Fingerprint: fingerprintOf(t, 3)})
		if (status == http.StatusCreated) != (want == http.StatusOK) {
			t.Errorf("an artifact of %s: %d", name, status)
		}
		if status, _, _ := r.send(t, r.anon, ci.Token, "DELETE", api.PathModels+"/"+name, nil); (status == http.StatusForbidden) != (want == http.StatusForbidden) {
			t.Errorf("delete %s: %d", name, status)
		}
	}
	far := must[api.TokenAnswer](t, r, "POST", api.PathTokens, api.TokenRequest{Name: "far", Roles: []string{"reader"}, Networks: []string{"10.0.0.0/8"}})
	if status, _, _ := r.send(t, r.anon, far.Token, "GET", api.PathWhoAmI, nil); status != http.StatusForbidden {
		t.Errorf("from another network: %d", status)
	}
	for why, token := range map[string]api.TokenAnswer{"from another network": far, "bound to models": ci} {
		if resp := r.post(t, r.browse(t), "/login", url.Values{"token": {token.Token}}); resp.StatusCode < 400 || len(resp.Cookies()) > 0 {
			t.Errorf("sign-in %s: %d", why, resp.StatusCode)
		}
	}
	for _, bad := range []api.TokenRequest{{Networks: []string{"10.0.0.1/8"}}, {Networks: []string{"here"}}, {Models: []string{"[a"}}, {Models: []string{""}},
		{Roles: []string{"reader"}, Models: []string{"a"}}, {Roles: []string{"registrar", "admin"}, Models: []string{"a"}}} {
		if bad.Name = "bad"; bad.Roles == nil {
			bad.Roles = []string{"registrar"}
		}
		if status, _, _ := r.send(t, r.anon, r.token, "POST", api.PathTokens, bad); status != http.StatusUnprocessableEntity {
			t.Errorf("%+v: %d", bad, status)
		}
	}
}

// A token of an owner's pipeline registers that owner's models and touches no others,
// nor does it give one away.
func TestTokensOfAnOwner(t *testing.T) {
	r := start(t)
	must[api.Model](t, r, "PUT", "/v1/models/theirs", api.ModelDescription{Kind: api.KindProtected, Owner: "team b"})
	must[api.Model](t, r, "PUT", "/v1/models/nobodys", api.ModelDescription{Kind: api.KindProtected})
	ci := must[api.TokenAnswer](t, r, "POST", api.PathTokens, api.TokenRequest{Name: "ci", Roles: []string{"registrar"}, Owners: []string{"team a"}}).Token
	two := must[api.TokenAnswer](t, r, "POST", api.PathTokens, api.TokenRequest{Name: "ci2", Roles: []string{"registrar"}, Owners: []string{"team a", "team c"}, Models: []string{"a-*"}}).Token
	art := api.NewArtifact{Name: "w", Fingerprint: fingerprintOf(t, 9)}
	of := func(owner string) api.ModelDescription {
		return api.ModelDescription{Kind: api.KindProtected, Owner: owner}
	}
	for _, c := range []struct {
		token, method, path string
		body                any
		want                int
	}{
		{ci, "GET", "/v1/models/new", nil, 404},
		{ci, "PUT", "/v1/models/new", of(""), 200}, // team a's, by itself
		{ci, "POST", "/v1/models/new/versions/1/artifacts", art, 201},
		{ci, "PUT", "/v1/models/new", of("team b"), 403},
		{ci, "PUT", "/v1/models/other", of("team b"), 403},
		{ci, "GET", "/v1/models/theirs", nil, 403},
		{ci, "PUT", "/v1/models/theirs", of("team a"), 403},
		{ci, "POST", "/v1/models/theirs/versions/1/artifacts", art, 403},
		{ci, "DELETE", "/v1/models/theirs", nil, 403},
		{ci, "PUT", "/v1/models/nobodys", of("team a"), 403},
		{ci, "GET", "/v1/models", nil, 403},
		{ci, "GET", "/v1/announcements", nil, 403},
		{ci, "GET", "/v1/whoami", nil, 200},
		{two, "PUT", "/v1/models/a-1", of(""), 403}, // whose?
		{two, "PUT", "/v1/models/a-1", of("team c"), 200},
		{two, "PUT", "/v1/models/b-1", of("team c"), 403},
		{two, "GET", "/v1/models/new", nil, 403},
		{ci, "GET", "/v1/models/a-1", nil, 403},
		{ci, "DELETE", "/v1/models/new", nil, 204},
	} {
		if status, _, out := r.send(t, r.anon, c.token, c.method, c.path, c.body); status != c.want {
			t.Errorf("%s %s: %d %.200s, want %d", c.method, c.path, status, out, c.want)
		}
	}
	// Between the look at the owner and the change somebody else may have been faster.
	err := r.store.PutModel(t.Context(), store.ServerActor(), api.Model{Name: "theirs", Kind: api.KindProtected, Owner: "team a"}, "team a")
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("taken from its owner: %v", err)
	}
	for _, bad := range []api.TokenRequest{{Owners: []string{""}}, {Owners: []string{"a,b"}}, {Owners: []string{" a"}}, {Owners: []string{"a"}, Roles: []string{"reader"}}} {
		bad.Name = "x"
		if bad.Roles == nil {
			bad.Roles = []string{"registrar"}
		}
		if status, _, _ := r.send(t, r.anon, r.token, "POST", api.PathTokens, bad); status != http.StatusUnprocessableEntity {
			t.Errorf("%+v: %d", bad, status)
		}
	}
}

// A token bound to models opens no other route, whatever its roles.
func TestScopeDeniesByDefault(t *testing.T) {
	r := start(t)
	text, secret := auth.NewToken()
	if _, err := r.store.AddToken(t.Context(), store.ServerActor(), store.Token{Name: "all", Roles: auth.Roles(), Models: []string{"team-a-*"}}, secret); err != nil {
		t.Fatal(err)
	}
	open := 0
	for _, rt := range r.routes() {
		if rt.need == auth.Public || rt.need == auth.AsAgent {
			continue
		}
		within := strings.Contains(rt.pattern, "{model}") || rt.pattern == api.PathWhoAmI
		for model, want := range map[string]bool{"team-a-x": within, "team-b-x": rt.pattern == api.PathWhoAmI} {
			path := strings.NewReplacer("{model}", model, "{", "", "}", "").Replace(rt.pattern)
			status, _, _ := r.send(t, r.anon, text, rt.method, path, nil)
			if (status != http.StatusForbidden) != want {
				t.Errorf("%s %s: %d", rt.method, path, status)
			}
			if want {
				open++
			}
		}
	}
	if open == 0 {
		t.Error("nothing was open to it")
	}
}

// A session is good from where the token is that it began with.
func TestSessionStaysInItsNetwork(t *testing.T) {
	r := start(t)
	for network, want := range map[string]int{"127.0.0.0/8": http.StatusOK, "10.0.0.0/8": http.StatusSeeOther} {
		_, secret := auth.NewToken()
		tok, err := r.store.AddToken(t.Context(), store.ServerActor(), store.Token{Name: "x", Roles: []string{"reader"}, Networks: []string{network}}, secret)
		if err != nil {
			t.Fatal(err)
		}
		sess := store.Session{Subject: tok.ID, Name: "x", Roles: tok.Roles, TokenID: tok.ID, CSRF: "x", Expires: time.Now().Add(time.Hour)}
		if err := r.store.AddSession(t.Context(), store.ServerActor(), sess, []byte(network[:4])); err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), "GET", r.url+"/models", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(&http.Cookie{Name: "__Host-weightwarden", Value: network[:4]})
		resp, err := r.browse(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("bound to %s, from loopback: %d, want %d", network, resp.StatusCode, want)
		}
	}
}

// A token that asks too much is told to wait, and so is a stranger; others are not.
func TestTokensHaveARate(t *testing.T) {
	r := startWith(t, t.TempDir(), func(cfg *Config) { cfg.TokenRate = 0.001 })
	other := must[api.TokenAnswer](t, r, "POST", api.PathTokens, api.TokenRequest{Name: "other", Roles: []string{"reader"}})
	status := 0
	for range burst + 1 {
		status, _, _ = r.send(t, r.anon, r.token, "GET", api.PathWhoAmI, nil)
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("after %d requests: %d", burst+1, status)
	}
	if status, _, _ := r.send(t, r.anon, other.Token, "GET", api.PathWhoAmI, nil); status != http.StatusOK {
		t.Errorf("another token: %d", status)
	}
	for range burst + 1 {
		status, _, _ = r.send(t, r.anon, "", "GET", api.PathCA, nil)
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("a stranger after %d requests: %d", burst+1, status)
	}
	for path, want := range map[string]int{"/login": http.StatusTooManyRequests, "/healthz": http.StatusOK} {
		if status, _, _ := r.send(t, r.browse(t), "", "GET", path, nil); status != want {
			t.Errorf("%s after that: %d, want %d", path, status, want)
		}
	}
	if status, _, _ := r.send(t, r.anon, "", "POST", api.PathEnroll, api.EnrollRequest{Token: "x"}); status != http.StatusBadRequest {
		t.Errorf("a machine that enrols from there: %d", status)
	}
}

// clock is the time of a server, which a test sets forward.
type clock struct {
	start time.Time
	moved atomic.Int64 // nanoseconds
}

func newClock() *clock { return &clock{start: time.Now()} }

func (c *clock) time() time.Time { return c.start.Add(time.Duration(c.moved.Load())) }

func (c *clock) add(d time.Duration) { c.moved.Add(int64(d)) }
