package server

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"weightwarden/server/auth"
)

// issuer is an identity provider on loopback. Its tokens are what edit makes of good
// ones.
type issuer struct {
	*httptest.Server
	key    *rsa.PrivateKey
	signer *rsa.PrivateKey // what tokens are signed with
	edit   func(claims map[string]any)

	challenge, nonce string // of the last visit
}

func startIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key, signer: key, edit: func(map[string]any) {}}
	mux := http.NewServeMux()
	i.Server = httptest.NewTLSServer(mux)
	t.Cleanup(i.Close)
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": i.URL, "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		if oauth2.S256ChallengeFromVerifier(r.PostFormValue("code_verifier")) != i.challenge || r.PostFormValue("code") != "code" {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		answer(w, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": i.token(t)})
	})
	return i
}

func (i *issuer) token(t *testing.T) string {
	claims := map[string]any{"iss": i.URL, "sub": "s-17", "aud": "warden", "exp": time.Now().Add(time.Minute).Unix(), "iat": time.Now().Unix(), "nonce": i.nonce,
		"preferred_username": "ada.berg", "groups": []string{"staff", "soc"}}
	i.edit(claims)
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: i.signer, KeyID: "1"}}, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	body, err := json.Marshal(claims)
	if err != nil {
		t.Error(err)
	}
	signed, err := s.Sign(body)
	if err != nil {
		t.Error(err)
		return ""
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Error(err)
	}
	return text
}

// startWithIssuer is a server whose people sign in at an issuer.
func startWithIssuer(t *testing.T) (*running, *issuer) {
	t.Helper()
	i := startIssuer(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := auth.NewOIDC(auth.OIDCConfig{Name: "Example ID", Issuer: i.URL, ClientID: "warden", URL: "https://warden.example.org", CAFile: ca, GroupsClaim: "groups",
		RolesOfGroup: map[string][]string{"soc": {"analyst"}, "leads": {"approver", "analyst"}}})
	if err != nil {
		t.Fatal(err)
	}
	return startWith(t, t.TempDir(), func(cfg *Config) { cfg.OIDC = o }), i
}

// visit begins a sign-in and returns the state that the issuer was told.
func (i *issuer) visit(t *testing.T, r *running, c *http.Client) string {
	t.Helper()
	resp, err := c.Get(r.url + "/login/oidc?next=/hits")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	u, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(u.String(), i.URL+"/authorize?") {
		t.Fatalf("%d to %q, %v", resp.StatusCode, u, err)
	}
	q := u.Query()
	if q.Get("redirect_uri") != "https://warden.example.org/login/oidc/callback" || q.Get("code_challenge_method") != "S256" {
		t.Errorf("%v", q)
	}
	i.challenge, i.nonce = q.Get("code_challenge"), q.Get("nonce")
	return q.Get("state")
}

func TestSingleSignOn(t *testing.T) {
	r, i := startWithIssuer(t)
	c := r.browse(t)
	state := i.visit(t, r, c)
	status, _, body := r.send(t, c, "", "GET", auth.CallbackPath+"?code=code&state="+state, nil)
	if status != http.StatusOK || !strings.Contains(string(body), `href="/hits"`) {
		t.Fatalf("%d %.400s", status, body)
	}
	if status, _, body := r.send(t, c, "", "GET", "/hits", nil); status != http.StatusOK || !strings.Contains(string(body), "ada.berg") {
		t.Errorf("after signing in: %d", status)
	}
	if status, _, _ := r.send(t, c, "", "GET", "/settings", nil); status != http.StatusForbidden {
		t.Errorf("an analyst opens the settings: %d", status)
	}
	if status, _, body := r.send(t, c, "", "GET", "/account", nil); status != http.StatusOK || !strings.Contains(string(body), "not kept here") {
		t.Errorf("account: %d", status)
	}
	// The same answer again finds no attempt.
	if status, _, _ := r.send(t, c, "", "GET", auth.CallbackPath+"?code=code&state="+state, nil); status != http.StatusUnauthorized {
		t.Errorf("the answer again: %d", status)
	}
}

func TestSingleSignOnRefuses(t *testing.T) {
	r, i := startWithIssuer(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	set := func(name string, v any) func(map[string]any) { return func(c map[string]any) { c[name] = v } }
	for name, c := range map[string]struct {
		edit   func(map[string]any)
		signer *rsa.PrivateKey
		query  string
	}{
		"another audience": {edit: set("aud", "somebody else")},
		"another issuer":   {edit: set("iss", "https://evil.example")},
		"expired":          {edit: set("exp", time.Now().Add(-time.Hour).Unix())},
		"another nonce":    {edit: set("nonce", "planted")},
		"no nonce":         {edit: set("nonce", "")},
		"another key":      {signer: other},
		"no group":         {edit: set("groups", []string{"staff"})},
		"groups as text":   {edit: set("groups", "soc")},
		"an empty subject": {edit: set("sub", "")},
		"a long subject":   {edit: set("sub", strings.Repeat("x", 300))},
		"another code":     {query: "code=stolen&state=STATE"},
		"another state":    {query: "code=code&state=planted"},
		"an error":         {query: "error=access_denied&state=STATE"},
		"nothing":          {query: ""},
	} {
		i.edit, i.signer = func(map[string]any) {}, i.key
		if c.edit != nil {
			i.edit = c.edit
		}
		if c.signer != nil {
			i.signer = c.signer
		}
		b := r.browse(t)
		state := i.visit(t, r, b)
		query := c.query
		if c.edit != nil || c.signer != nil {
			query = "code=code&state=STATE"
		}
		if status, _, _ := r.send(t, b, "", "GET", auth.CallbackPath+"?"+strings.Replace(query, "STATE", state, 1), nil); status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, status)
		}
		if status, _, _ := r.send(t, b, "", "GET", "/hits", nil); status != http.StatusSeeOther {
			t.Errorf("%s: a session all the same: %d", name, status)
		}
	}
	// A link of somebody else's sign-in, in a browser that began none.
	i.edit, i.signer = func(map[string]any) {}, i.key
	state := i.visit(t, r, r.browse(t))
	if status, _, _ := r.send(t, r.browse(t), "", "GET", auth.CallbackPath+"?code=code&state="+state, nil); status != http.StatusUnauthorized {
		t.Errorf("in another browser: %d", status)
	}
}

// An issuer that fails is asked once, not by every visitor; accounts and tokens go on.
func TestIssuerThatFails(t *testing.T) {
	var asked atomic.Int32
	i := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer i.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := auth.NewOIDC(auth.OIDCConfig{Issuer: i.URL, ClientID: "warden", URL: "https://warden.example.org", CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	r := startWith(t, t.TempDir(), func(cfg *Config) { cfg.OIDC = o })
	for range 3 {
		if status, _, _ := r.send(t, r.browse(t), "", "GET", "/login/oidc", nil); status != http.StatusBadGateway {
			t.Errorf("%d", status)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
	r.signedIn(t, r.token)
}

func TestOIDCConfig(t *testing.T) {
	const good = `{"issuer":"https://id.example.org","client_id":"warden","url":"https://warden.example.org","roles_of_group":{"soc":["analyst"]}}`
	path := filepath.Join(t.TempDir(), "oidc.json")
	for text, ok := range map[string]bool{good: true, "{}": false, "": false, strings.Replace(good, "https://id", "http://id", 1): false,
		strings.Replace(good, "analyst", "god", 1): false, strings.Replace(good, `"client_id"`, `"client"`, 1): false,
		strings.Replace(good, `{"soc":["analyst"]}`, `{}`, 1): false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := auth.ReadOIDCConfig(path); (err == nil) != ok || ok && (c.GroupsClaim != "groups" || c.Name == "") {
			t.Errorf("%s: %+v, %v", text, c, err)
		}
	}
}
