package ui

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

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
	// Passkeys says that this server takes them.
	Passkeys bool
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
	f := loginForm{Next: next, Error: why, Passkeys: c.passkeys != nil}
	if c.oidc != nil {
		f.OIDC = c.oidc.Name()
	}
	return f
}

// localPath lets a redirect lead nowhere but to a page of the console. Browsers take
// "\" for "/", and leave out control characters before they look: "/\t/host" is "//host".
func localPath(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.Contains(next, `\`) || strings.ContainsFunc(next, unicode.IsControl) {
		return "/"
	}
	return next
}

// errSignIn is what a visitor is told whatever was wrong, so that nobody learns which
// names there are.
const errSignIn = "That name and password, token or passkey is not known here, or it is no longer good."

const errBusy = "Too many people sign in at this moment: try again in a few seconds."

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
	who, err := c.prove(v)
	if err == nil {
		err = c.begin(v, who, next)
	}
	var wait waitError
	switch {
	case errors.As(err, &wait):
		v.w.Header().Set("Retry-After", wait.seconds())
		return again(http.StatusTooManyRequests, wait.Error())
	case errors.Is(err, auth.ErrBusy):
		v.w.Header().Set("Retry-After", "5")
		return again(http.StatusServiceUnavailable, errBusy)
	case errors.Is(err, store.ErrNotFound):
		c.log.Warn("sign-in refused", "remote", remote)
		return again(http.StatusUnauthorized, errSignIn)
	}
	return err
}

// waitError says who has to wait, and how long.
type waitError struct {
	who  string
	wait time.Duration
}

func (e waitError) Error() string {
	return "After too many wrong attempts " + e.who + " has to wait: try again in " + e.seconds() + " s."
}

// seconds are rounded up, so that who comes back then is let in.
func (e waitError) seconds() string {
	return strconv.Itoa(int((e.wait + time.Second - 1) / time.Second))
}

// begin stores the session, sets its cookie and leads on. It is ErrNotFound where the
// token or password is no longer good.
func (c *Console) begin(v *visit, who signingIn, next string) error {
	if err := c.addSession(v, who); err != nil {
		return err
	}
	http.Redirect(v.w, v.r, next, http.StatusSeeOther)
	return nil
}

func (c *Console) addSession(v *visit, who signingIn) error {
	if v.cookie != nil {
		if err := c.store.EndSession(v.r.Context(), v.remote(), v.cookie); err != nil {
			return err
		}
	}
	cookie := randomText()
	who.actor.Remote, who.session.CSRF = v.remote(), randomText()
	if err := c.store.AddSession(v.r.Context(), who.actor, who.session, []byte(cookie)); err != nil {
		return err
	}
	http.SetCookie(v.w, &http.Cookie{Name: cookieName, Value: cookie, Path: "/", Expires: who.session.Expires, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	return nil
}

// prove finds who signs in, or ErrNotFound. Wrong attempts of an address make it wait;
// a right token is never held up by them, as nobody guesses one.
func (c *Console) prove(v *visit) (signingIn, error) {
	remote := v.remote()
	if text := v.r.PostFormValue("token"); text != "" {
		who, err := c.proveToken(v, text)
		if errors.Is(err, store.ErrNotFound) {
			c.failed("token")
			if wait := c.limits.Try(remote); wait > 0 {
				err = waitError{"your address", wait}
			}
		}
		return who, err
	}
	if answer := v.r.PostFormValue("answer"); answer != "" {
		if wait := c.limits.Try(remote); wait > 0 {
			return signingIn{}, waitError{"your address", wait}
		}
		who, err := c.provePasskey(v, answer)
		if err == nil {
			c.limits.Passed(remote)
		} else {
			c.failed("passkey")
		}
		return who, err
	}
	name, password := v.r.PostFormValue("name"), v.r.PostFormValue("password")
	if name == "" || len(name) > 200 || password == "" {
		return signingIn{}, store.ErrNotFound
	}
	if wait := c.limits.Try(remote); wait > 0 {
		return signingIn{}, waitError{"your address", wait}
	}
	a, err := c.checkPassword(v, name, password)
	switch {
	case err == nil, errors.Is(err, auth.ErrBusy):
		c.limits.Passed(remote)
	case errors.Is(err, store.ErrNotFound):
		c.failed("password")
	}
	return c.signingIn(a.Account, a.PHC), err
}

func (c *Console) signingIn(a store.Account, phc string) signingIn {
	return signingIn{store.Actor{Kind: "user", ID: a.ID, Name: a.Name},
		store.Session{Subject: a.ID, Name: a.Name, Roles: a.Roles, PHC: phc, Expires: time.Now().Add(c.sessions.Life)}}
}

// checkPassword takes as long, and makes names wait as long, where nobody has the name.
func (c *Console) checkPassword(v *visit, name, password string) (a store.Attempt, err error) {
	ctx := v.r.Context()
	err = c.passwords.Do(ctx, func() error {
		a, err = c.store.BeginAttempt(ctx, name)
		if err != nil {
			return err
		}
		if a.Wait > 0 {
			return waitError{"this name", a.Wait}
		}
		if auth.Verify(a.PHC, password) && a.Account.Disabled.IsZero() {
			return nil
		}
		if err := c.store.AttemptFailed(ctx, a, v.remote()); err != nil {
			return err
		}
		return store.ErrNotFound
	})
	return a, err
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
	if len(t.Models)+len(t.Owners) > 0 {
		return signingIn{}, inputError("this token is for registering models; it opens no pages")
	}
	expires := time.Now().Add(c.sessions.Life)
	if !t.Expires.IsZero() && t.Expires.Before(expires) {
		expires = t.Expires
	}
	return signingIn{store.Actor{Kind: "user", ID: t.ID, Name: t.Name},
		store.Session{Subject: t.ID, Name: t.Name, Roles: t.Roles, TokenID: t.ID, Expires: expires}}, nil
}

type accountPage struct {
	Own       bool // signed in by name
	Temporary bool
	Session   *store.Session
	Idle      string
	Error     string
	Least     int
	Passkeys  []store.Passkey
	MayAdd    bool // a passkey
}

// spoken is a duration without parts that are nothing: 2h, 1h30m, 10m.
func spoken(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (c *Console) accountPage(v *visit) error { return c.renderAccount(v, http.StatusOK, "") }

func (c *Console) renderAccount(v *visit, status int, why string) error {
	s := v.who.Session
	_, _, err := c.store.AccountByID(v.r.Context(), v.who.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	p := accountPage{Own: err == nil, Temporary: s.Temporary, Session: s, Idle: spoken(c.sessions.Idle), Error: why, Least: auth.MinPassword, MayAdd: err == nil && c.passkeys != nil && !s.Temporary}
	if p.Passkeys, err = c.store.Passkeys(v.r.Context(), v.who.ID); err != nil {
		return err
	}
	return c.render(v, status, "account", "Your account", "", p)
}

// changePassword gives the person another password and a new session; all others end.
func (c *Console) changePassword(v *visit) error {
	a, _, err := c.store.AccountByID(v.r.Context(), v.who.ID)
	if errors.Is(err, store.ErrNotFound) {
		return inputError("your password is not kept here")
	}
	if err != nil {
		return err
	}
	old, fresh := v.r.PostFormValue("password"), v.r.PostFormValue("fresh")
	switch err := auth.CheckPassword(a.Name, fresh); {
	case err != nil:
		return c.renderAccount(v, http.StatusUnprocessableEntity, "The new password is "+err.Error()+".")
	case fresh == old:
		return c.renderAccount(v, http.StatusUnprocessableEntity, "The new password is the old one.")
	case fresh != v.r.PostFormValue("again"):
		return c.renderAccount(v, http.StatusUnprocessableEntity, "The new password was not typed the same twice.")
	}
	checked, err := c.checkPassword(v, a.Name, old)
	var wait waitError
	switch {
	case errors.As(err, &wait):
		v.w.Header().Set("Retry-After", wait.seconds())
		return c.renderAccount(v, http.StatusTooManyRequests, wait.Error())
	case errors.Is(err, auth.ErrBusy):
		v.w.Header().Set("Retry-After", "5")
		return c.renderAccount(v, http.StatusServiceUnavailable, errBusy)
	case errors.Is(err, store.ErrNotFound):
		c.failed("password")
		return c.renderAccount(v, http.StatusUnprocessableEntity, "The password you have now is another one.")
	case err != nil:
		return err
	}
	phc, err := c.passwords.Hash(v.r.Context(), fresh)
	if err != nil {
		return err
	}
	if err := c.store.ChangePassword(v.r.Context(), v.who.Actor, a.ID, checked.PHC, phc); err != nil {
		return err
	}
	return c.begin(v, c.signingIn(a, phc), "/")
}

func (c *Console) logout(v *visit) error {
	if v.cookie != nil {
		if err := c.store.EndSession(v.r.Context(), v.remote(), v.cookie); err != nil {
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
