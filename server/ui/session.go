package ui

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weightwarden/server/auth"
	"weightwarden/server/store"
)

// The prefix makes browsers insist on Secure, Path=/ and no Domain.
const cookieName = "__Host-weightwarden"

type loginForm struct {
	Next  string
	Error string
	Name  string
	OIDC  string // what the identity provider is called; "" where there is none
}

func (c *Console) loginPage(v *visit) error {
	next := localPath(v.r.URL.Query().Get("next"))
	if v.who != nil {
		http.Redirect(v.w, v.r, next, http.StatusSeeOther)
		return nil
	}
	return c.render(v, http.StatusOK, "login", "Sign in", "", c.loginForm(next, ""))
}

func (c *Console) loginForm(next, why string) loginForm {
	f := loginForm{Next: next, Error: why}
	if c.oidc != nil {
		f.OIDC = c.oidc.Name()
	}
	return f
}

// localPath lets a redirect lead nowhere but to a page of the console.
func localPath(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n") {
		return "/"
	}
	return next
}

// errSignIn is what a visitor is told whatever was wrong, so that nobody learns which
// names there are.
const errSignIn = "That name and password, or that token, is not known here, or it is no longer good."

// signingIn is who the form's name and password, or token, stand for.
type signingIn struct {
	actor   store.Actor
	session store.Session
}

// login makes a new session from a name and password, or a token. An older session of
// the same browser is ended, so that nobody can plant one in advance. SameSite=Strict
// on the cookie and the check of the site keep other sites from posting the form.
func (c *Console) login(v *visit) error {
	if site := v.r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return errCSRF
	}
	next, remote := localPath(v.r.PostFormValue("next")), v.remote()
	again := func(status int, why string) error {
		form := c.loginForm(next, why)
		form.Name = v.r.PostFormValue("name")
		return c.render(v, status, "login", "Sign in", "", form)
	}
	if !c.limits.MayTry(remote) {
		v.w.Header().Set("Retry-After", "30")
		return again(http.StatusTooManyRequests, "Too many attempts from your address: wait half a minute.")
	}
	who, err := c.prove(v)
	var locked lockedError
	switch {
	case errors.As(err, &locked):
		v.w.Header().Set("Retry-After", strconv.Itoa(int(time.Duration(locked).Seconds())+1))
		return again(http.StatusTooManyRequests, "After wrong passwords this name has to wait: try again in "+time.Duration(locked).Round(time.Second).String()+".")
	case errors.Is(err, store.ErrNotFound):
		c.limits.Failed(remote)
		return again(http.StatusUnauthorized, errSignIn)
	case err != nil:
		return err
	}
	if v.cookie != nil {
		if err := c.store.EndSession(v.r.Context(), v.cookie); err != nil {
			return err
		}
	}
	return c.begin(v, who, next)
}

// begin stores the session, sets its cookie and leads on.
func (c *Console) begin(v *visit, who signingIn, next string) error {
	if err := c.addSession(v, who); err != nil {
		return err
	}
	http.Redirect(v.w, v.r, next, http.StatusSeeOther)
	return nil
}

func (c *Console) addSession(v *visit, who signingIn) error {
	cookie := randomText()
	who.actor.Remote, who.session.CSRF = v.remote(), randomText()
	if err := c.store.AddSession(v.r.Context(), who.actor, who.session, []byte(cookie)); err != nil {
		return err
	}
	http.SetCookie(v.w, &http.Cookie{Name: cookieName, Value: cookie, Path: "/", Expires: who.session.Expires, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	return nil
}

// prove finds who signs in, or ErrNotFound.
func (c *Console) prove(v *visit) (signingIn, error) {
	if text := v.r.PostFormValue("token"); text != "" {
		return c.proveToken(v, text)
	}
	name, password := v.r.PostFormValue("name"), v.r.PostFormValue("password")
	if name == "" || len(name) > 200 || password == "" {
		return signingIn{}, store.ErrNotFound
	}
	return c.provePassword(v, name, password)
}

func (c *Console) proveToken(v *visit, text string) (signingIn, error) {
	secret, err := auth.ParseToken(text)
	if err != nil {
		return signingIn{}, store.ErrNotFound
	}
	t, err := c.store.TokenBySecret(v.r.Context(), secret)
	if err != nil {
		return signingIn{}, err
	}
	if !auth.FromNetwork(t.Networks, v.remote()) {
		return signingIn{}, store.ErrNotFound
	}
	expires := time.Now().Add(c.sessions.Life)
	if !t.Expires.IsZero() && t.Expires.Before(expires) {
		expires = t.Expires
	}
	return signingIn{store.Actor{Kind: "user", ID: t.ID, Name: t.Name},
		store.Session{Subject: t.ID, Name: t.Name, Roles: t.Roles, TokenID: t.ID, Expires: expires}}, nil
}

// lockedError is how long a name has to wait.
type lockedError time.Duration

func (lockedError) Error() string { return "locked after wrong passwords" }

// provePassword takes as long for names that nobody has.
func (c *Console) provePassword(v *visit, name, password string) (signingIn, error) {
	ctx := v.r.Context()
	a, phc, err := c.store.AccountByName(ctx, name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return signingIn{}, err
	}
	if wait := time.Until(a.Locked); err == nil && wait > 0 {
		return signingIn{}, lockedError(wait)
	}
	ok, verr := c.passwords.Verify(ctx, phc, password)
	if verr != nil {
		return signingIn{}, verr
	}
	actor := store.Actor{Kind: "user", ID: a.ID, Name: a.Name, Remote: v.remote()}
	if err == nil && (!ok || !a.Disabled.IsZero()) {
		if _, err := c.store.SignInFailed(ctx, actor, a.ID); err != nil {
			return signingIn{}, err
		}
		return signingIn{}, store.ErrNotFound
	}
	if err != nil {
		return signingIn{}, err
	}
	if err := c.store.SignedIn(ctx, a.ID); err != nil {
		return signingIn{}, err
	}
	return signingIn{actor, store.Session{Subject: a.ID, Name: a.Name, Roles: a.Roles, Expires: time.Now().Add(c.sessions.Life)}}, nil
}

type accountPage struct {
	Own       bool // signed in by name
	Temporary bool
	Session   *store.Session
	Idle      time.Duration
	Error     string
	Least     int
}

func (c *Console) accountPage(v *visit) error { return c.renderAccount(v, http.StatusOK, "") }

func (c *Console) renderAccount(v *visit, status int, why string) error {
	s := v.who.Session
	_, _, err := c.store.AccountByID(v.r.Context(), v.who.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return c.render(v, status, "account", "Your account", "", accountPage{Own: err == nil, Temporary: s.Temporary, Session: s, Idle: c.sessions.Idle, Error: why, Least: auth.MinPassword})
}

// changePassword gives the person another password and a new session; all others end.
func (c *Console) changePassword(v *visit) error {
	a, phc, err := c.store.AccountByID(v.r.Context(), v.who.ID)
	if errors.Is(err, store.ErrNotFound) {
		return inputError("your password is not kept here")
	}
	if err != nil {
		return err
	}
	if wait := time.Until(a.Locked); wait > 0 {
		return c.renderAccount(v, http.StatusTooManyRequests, "After wrong passwords you have to wait: try again in "+wait.Round(time.Second).String()+".")
	}
	fresh := v.r.PostFormValue("fresh")
	if ok, err := c.passwords.Verify(v.r.Context(), phc, v.r.PostFormValue("password")); err != nil || !ok {
		if err == nil {
			_, err = c.store.SignInFailed(v.r.Context(), v.who.Actor, a.ID)
		}
		if err != nil {
			return err
		}
		return c.renderAccount(v, http.StatusUnprocessableEntity, "The password you have now is another one.")
	}
	switch err := auth.CheckPassword(a.Name, fresh); {
	case err != nil:
		return c.renderAccount(v, http.StatusUnprocessableEntity, "The new password is "+err.Error()+".")
	case fresh == v.r.PostFormValue("password"):
		return c.renderAccount(v, http.StatusUnprocessableEntity, "The new password is the old one.")
	case fresh != v.r.PostFormValue("again"):
		return c.renderAccount(v, http.StatusUnprocessableEntity, "The new password was not typed the same twice.")
	}
	if phc, err = c.passwords.Hash(v.r.Context(), fresh); err != nil {
		return err
	}
	if err := c.store.SetPassword(v.r.Context(), v.who.Actor, a.ID, phc); err != nil {
		return err
	}
	return c.begin(v, signingIn{v.who.Actor, store.Session{Subject: a.ID, Name: a.Name, Roles: a.Roles, Expires: time.Now().Add(c.sessions.Life)}}, "/")
}

func (c *Console) logout(v *visit) error {
	if v.cookie != nil {
		if err := c.store.EndSession(v.r.Context(), v.cookie); err != nil {
			return err
		}
	}
	http.SetCookie(v.w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(v.w, v.r, "/login", http.StatusSeeOther)
	return nil
}

func randomText() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(b)
}
