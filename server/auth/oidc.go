package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// OIDCConfig says how people sign in elsewhere (OpenID Connect, authorization code
// flow with PKCE). It is the JSON of the file that fpserver serve --oidc names.
type OIDCConfig struct {
	Name         string              `json:"name"`               // for the button: "Sign in with NAME"
	Issuer       string              `json:"issuer"`             // https://...
	ClientID     string              `json:"client_id"`          //
	SecretFile   string              `json:"client_secret_file"` // empty: a public client
	URL          string              `json:"url"`                // of this server, as browsers see it
	CAFile       string              `json:"ca_file"`            // PEM; empty: the system's authorities
	Scopes       []string            `json:"scopes"`             // beside openid and profile
	GroupsClaim  string              `json:"groups_claim"`       // default "groups"
	RolesOfGroup map[string][]string `json:"roles_of_group"`     // who is in none of them stays out
}

// CallbackPath is where the issuer sends people back to.
const CallbackPath = "/login/oidc/callback"

// ErrIdentity is returned for answers of an issuer that prove nothing.
var ErrIdentity = errors.New("the identity provider's answer proves nothing")

// ReadOIDCConfig reads and checks a configuration file.
func ReadOIDCConfig(path string) (*OIDCConfig, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	c := &OIDCConfig{Name: "single sign-on", GroupsClaim: "groups"}
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for name, text := range map[string]string{"issuer": c.Issuer, "url": c.URL} {
		if u, err := url.Parse(text); err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("%s: %s %.100q: want https://...", path, name, text)
		}
	}
	if c.ClientID == "" || len(c.RolesOfGroup) == 0 {
		return nil, fmt.Errorf("%s: client_id and roles_of_group are wanted", path)
	}
	for group, roles := range c.RolesOfGroup {
		if err := CheckRoles(roles); err != nil {
			return nil, fmt.Errorf("%s: group %.100q: %w", path, group, err)
		}
	}
	return c, nil
}

// OIDC signs people in by an identity provider. It is safe for concurrent use.
type OIDC struct {
	cfg    OIDCConfig
	secret string
	client *http.Client

	mu       sync.Mutex
	provider *oidc.Provider // nil until the issuer answered once
	asked    time.Time      // when it did not, and what came of it
	fault    error
}

// askAgain is how long an issuer that did not answer is left alone: who waits for the
// same answer gets it, rather than each a wait of his own.
const askAgain = 5 * time.Second

// NewOIDC reads the files that the configuration names. The issuer is asked with the
// first sign-in, so that a server starts without it.
func NewOIDC(cfg OIDCConfig) (*OIDC, error) {
	o := &OIDC{cfg: cfg, client: &http.Client{Timeout: 15 * time.Second}}
	if cfg.SecretFile != "" {
		b, err := os.ReadFile(cfg.SecretFile)
		if err != nil {
			return nil, err
		}
		o.secret = strings.TrimSpace(string(b))
	}
	if cfg.CAFile != "" {
		b, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("%s has no certificate", cfg.CAFile)
		}
		o.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, Proxy: http.ProxyFromEnvironment}
	}
	return o, nil
}

// Name is what the provider is called.
func (o *OIDC) Name() string { return o.cfg.Name }

func (o *OIDC) connect(ctx context.Context) (*oidc.Provider, *oauth2.Config, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.provider == nil {
		if o.fault != nil && time.Since(o.asked) < askAgain {
			return nil, nil, o.fault
		}
		// The provider keeps the context's client for its keys, so it must outlive the request.
		p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), o.client), o.cfg.Issuer)
		if o.asked, o.fault = time.Now(), err; err != nil {
			return nil, nil, err
		}
		o.provider = p
	}
	return o.provider, &oauth2.Config{ClientID: o.cfg.ClientID, ClientSecret: o.secret, Endpoint: o.provider.Endpoint(),
		RedirectURL: strings.TrimRight(o.cfg.URL, "/") + CallbackPath, Scopes: append([]string{oidc.ScopeOpenID, "profile"}, o.cfg.Scopes...)}, nil
}

// Attempt is what ties a sign-in to the browser that began it.
type Attempt struct {
	State, Nonce, Verifier string
}

// Begin returns where to send the browser.
func (o *OIDC) Begin(ctx context.Context, a Attempt) (string, error) {
	_, cfg, err := o.connect(ctx)
	if err != nil {
		return "", err
	}
	return cfg.AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)), nil
}

// Person is who an identity provider says somebody is.
type Person struct {
	ID    string // stable: "oidc:" and the subject
	Name  string
	Roles []string // none: in no group that has any
}

// Finish exchanges the code for an ID token and reads it: signature, issuer,
// audience, time and nonce must be right.
func (o *OIDC) Finish(ctx context.Context, a Attempt, code string) (Person, error) {
	provider, cfg, err := o.connect(ctx)
	if err != nil {
		return Person{}, err
	}
	ctx = oidc.ClientContext(ctx, o.client)
	token, err := cfg.Exchange(ctx, code, oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return Person{}, fmt.Errorf("%w: %v", ErrIdentity, err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return Person{}, fmt.Errorf("%w: no ID token", ErrIdentity)
	}
	id, err := provider.Verifier(&oidc.Config{ClientID: o.cfg.ClientID}).Verify(ctx, raw)
	if err != nil {
		return Person{}, fmt.Errorf("%w: %v", ErrIdentity, err)
	}
	if id.Nonce != a.Nonce || a.Nonce == "" {
		return Person{}, fmt.Errorf("%w: the nonce is another one", ErrIdentity)
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return Person{}, fmt.Errorf("%w: %v", ErrIdentity, err)
	}
	return o.person(id.Subject, claims)
}

func (o *OIDC) person(subject string, claims map[string]any) (Person, error) {
	if subject == "" || len(subject) > 255 {
		return Person{}, fmt.Errorf("%w: a subject of %d bytes", ErrIdentity, len(subject))
	}
	p := Person{ID: "oidc:" + subject, Name: subject}
	for _, claim := range []string{"name", "email", "preferred_username"} {
		if s, ok := claims[claim].(string); ok && s != "" && len(s) <= 200 && !strings.ContainsFunc(s, unicode.IsControl) {
			p.Name = s
		}
	}
	groups, _ := claims[o.cfg.GroupsClaim].([]any) // another form names no group
	for _, g := range groups {
		name, _ := g.(string)
		for _, role := range o.cfg.RolesOfGroup[name] {
			if !slices.Contains(p.Roles, role) {
				p.Roles = append(p.Roles, role)
			}
		}
	}
	slices.Sort(p.Roles)
	return p, nil
}
