package server

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
)

// device is a browser with an authenticator.
type device struct {
	rp   virtualwebauthn.RelyingParty
	auth virtualwebauthn.Authenticator
	key  virtualwebauthn.Credential
}

func newDevice(account string) *device {
	return &device{rp: virtualwebauthn.RelyingParty{Name: "weightwarden", ID: "warden.example.org", Origin: "https://warden.example.org:8443"},
		auth: virtualwebauthn.NewAuthenticatorWithOptions(virtualwebauthn.AuthenticatorOptions{UserHandle: []byte(account)}), key: newPasskey()}
}

// newPasskey makes a key as devices do: the library that stands for one cuts leading
// zeros off a coordinate of one key in 128, which RFC 9053 forbids and the server refuses.
func newPasskey() virtualwebauthn.Credential {
	const whole = 77 // bytes of a COSE key of P-256 with both coordinates in full
	for {
		if c := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2); len(c.Key.AttestationData()) == whole {
			return c
		}
	}
}

func (r *running) question(t *testing.T, c *http.Client, path string, form url.Values) (int, string) {
	t.Helper()
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

// register adds the device to the account that is signed in, and returns the status.
func (d *device) register(t *testing.T, r *running, c *http.Client, csrf, password string) int {
	t.Helper()
	status, question := r.question(t, c, "/account/passkeys/begin", url.Values{"csrf": {csrf}, "password": {password}})
	if status != http.StatusOK {
		return status
	}
	options, err := virtualwebauthn.ParseAttestationOptions(question)
	if err != nil {
		t.Fatal(err)
	}
	return r.post(t, c, "/account/passkeys", url.Values{"csrf": {csrf}, "name": {"blue key"}, "answer": {virtualwebauthn.CreateAttestationResponse(d.rp, d.auth, d.key, *options)}}).StatusCode
}

// answer asks for a question and answers it.
func (d *device) answer(t *testing.T, r *running, c *http.Client) string {
	t.Helper()
	_, question := r.question(t, c, "/login/passkey", nil)
	options, err := virtualwebauthn.ParseAssertionOptions(question)
	if err != nil {
		t.Fatal(err)
	}
	return virtualwebauthn.CreateAssertionResponse(d.rp, d.auth, d.key, *options)
}

func (d *device) signIn(t *testing.T, r *running) (*http.Client, int) {
	t.Helper()
	c := r.browse(t)
	return c, r.post(t, c, "/login", url.Values{"answer": {d.answer(t, r, c)}}).StatusCode
}

// person is an account whose first password was changed, with its session.
func (r *running) person(t *testing.T, name, password string) (id string, c *http.Client, csrf string) {
	t.Helper()
	a := must[api.AccountAnswer](t, r, "POST", api.PathAccounts, api.AccountRequest{Name: name, Roles: []string{"analyst"}})
	c, _ = r.signIn(t, name, a.Password)
	_, _, body := r.send(t, c, "", "GET", "/account", nil)
	r.post(t, c, "/account", url.Values{"csrf": {csrfOf(t, body)}, "password": {a.Password}, "fresh": {password}, "again": {password}})
	_, _, body = r.send(t, c, "", "GET", "/account", nil)
	return a.ID, c, csrfOf(t, body)
}

func startWithPasskeys(t *testing.T) *running {
	return startWith(t, t.TempDir(), func(cfg *Config) { cfg.URL = "https://warden.example.org:8443" })
}

const ownPassword = "a better one than that"

func TestPasskey(t *testing.T) {
	r := startWithPasskeys(t)
	id, own, csrf := r.person(t, "ada", ownPassword)
	d := newDevice(id)
	if status := d.register(t, r, own, csrf, "a wrong password"); status != http.StatusUnprocessableEntity {
		t.Errorf("with a wrong password: %d", status)
	}
	if _, status := d.signIn(t, r); status != http.StatusUnauthorized {
		t.Errorf("sign-in before it was added: %d", status)
	}
	if status := d.register(t, r, own, csrf, ownPassword); status != http.StatusSeeOther {
		t.Fatalf("registration: %d", status)
	}
	if status := d.register(t, r, own, csrf, ownPassword); status != http.StatusConflict {
		t.Errorf("the same again: %d", status)
	}
	c, status := d.signIn(t, r)
	if status != http.StatusSeeOther {
		t.Fatalf("sign-in: %d", status)
	}
	if status, _, _ := r.send(t, c, "", "GET", "/hits", nil); status != http.StatusOK {
		t.Errorf("a page: %d", status)
	}
	must[struct{}](t, r, "PUT", api.PathAccounts+"/"+id+"/state", api.AccountState{State: "disabled"})
	if _, status := d.signIn(t, r); status != http.StatusUnauthorized {
		t.Errorf("sign-in to a disabled account: %d", status)
	}
	must[struct{}](t, r, "PUT", api.PathAccounts+"/"+id+"/state", api.AccountState{State: "active"})
	if _, status := d.signIn(t, r); status != http.StatusSeeOther {
		t.Errorf("sign-in to an enabled account: %d", status)
	}
	must[api.AccountAnswer](t, r, "POST", api.PathAccounts+"/"+id+"/password", nil)
	if _, status := d.signIn(t, r); status != http.StatusUnauthorized {
		t.Errorf("sign-in after a reset: %d", status)
	}
}

func TestPasskeyRefuses(t *testing.T) {
	r := startWithPasskeys(t)
	id, own, csrf := r.person(t, "ada", ownPassword)
	d := newDevice(id)
	if status := d.register(t, r, own, csrf, ownPassword); status != http.StatusSeeOther {
		t.Fatalf("registration: %d", status)
	}
	other, _, _ := r.person(t, "ben", ownPassword)
	for name, change := range map[string]func(*device){
		"another site":            func(d *device) { d.rp.Origin = "https://evil.example" },
		"another relying party":   func(d *device) { d.rp.ID = "evil.example" },
		"another key":             func(d *device) { d.key.Key = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2).Key },
		"another passkey":         func(d *device) { d.key = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2) },
		"another account":         func(d *device) { d.auth.Options.UserHandle = []byte(other) },
		"no account":              func(d *device) { d.auth.Options.UserHandle = []byte("nobody") },
		"a device left unlocked":  func(d *device) { d.auth.Options.UserNotVerified = true },
		"a device nobody touched": func(d *device) { d.auth.Options.UserNotPresent = true },
	} {
		bad := *d
		change(&bad)
		if _, status := bad.signIn(t, r); status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, status)
		}
	}
	copied := *d
	d.key.Counter = 7
	if _, status := d.signIn(t, r); status != http.StatusSeeOther {
		t.Errorf("with a counter: %d", status)
	}
	copied.key.Counter = 6
	if _, status := copied.signIn(t, r); status != http.StatusUnauthorized {
		t.Errorf("with a counter that went back: %d", status)
	}
	d.key.Counter = 8
	c := r.browse(t)
	answer := d.answer(t, r, c)
	if resp := r.post(t, r.browse(t), "/login", url.Values{"answer": {answer}}); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("in a browser that was not asked: %d", resp.StatusCode)
	}
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	tickets := c.Jar.Cookies(u)
	again := r.browse(t)
	again.Jar.SetCookies(u, []*http.Cookie{{Name: tickets[0].Name, Value: tickets[0].Value, Path: "/", Secure: true}})
	if resp := r.post(t, c, "/login", url.Values{"answer": {answer}}); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("the right browser: %d", resp.StatusCode)
	}
	if resp := r.post(t, again, "/login", url.Values{"answer": {answer}}); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the same answer again: %d", resp.StatusCode)
	}
	for _, junk := range []string{"{}", "null", "[]", strings.Repeat("[", 70000), `{"id":"x","type":"public-key","response":{}}`} {
		if resp := r.post(t, again, "/login", url.Values{"answer": {junk}}); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%.40q: %d", junk, resp.StatusCode)
		}
	}
}

// A question for one purpose, or of one account, is no good for another.
func TestPasskeyTickets(t *testing.T) {
	p, err := auth.NewPasskeys("https://warden.example.org:8443", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	ada := auth.PasskeyOwner{ID: "1", Name: "ada"}
	question, ticket, err := p.BeginRegister(ada)
	if err != nil {
		t.Fatal(err)
	}
	options, err := virtualwebauthn.ParseAttestationOptions(string(question))
	if err != nil {
		t.Fatal(err)
	}
	d := newDevice("1")
	answer := []byte(virtualwebauthn.CreateAttestationResponse(d.rp, d.auth, d.key, *options))
	if _, _, err := p.Register(auth.PasskeyOwner{ID: "2", Name: "ben"}, ticket, answer); err == nil {
		t.Error("ada's question adds a passkey to ben")
	}
	_, other, err := p.BeginSignIn()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", ".", other, ticket[1:], ticket + "A", strings.Replace(ticket, ".", "", 1)} {
		if _, _, err := p.Register(ada, bad, answer); err == nil {
			t.Errorf("registered by the ticket %.40q", bad)
		}
	}
	if q, err := auth.NewPasskeys("https://warden.example.org:8443", []byte("another secret")); err != nil {
		t.Error(err)
	} else if _, _, err := q.Register(ada, ticket, answer); err == nil {
		t.Error("another server takes the ticket")
	}
	if _, _, err := p.Register(ada, ticket, answer); err != nil {
		t.Errorf("the right ticket: %v", err)
	}
	for _, bad := range []string{"", "http://warden.example.org", "https://192.0.2.1:8443", "https://[::1]", "https://warden.example.org/console", "warden.example.org"} {
		if _, err := auth.NewPasskeys(bad, nil); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
