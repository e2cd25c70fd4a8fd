package ui

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"weightwarden/server/auth"
	"weightwarden/server/store"
)

const (
	attemptCookie = "__Host-weightwarden-sign-in"
	attemptLife   = 10 * time.Minute
)

// beginOIDC sends the browser to the identity provider. What ties the answer to this
// browser lies in a cookie of ten minutes.
func (c *Console) beginOIDC(v *visit) error {
	if c.oidc == nil {
		return store.ErrNotFound
	}
	a := auth.Attempt{State: randomText(), Nonce: randomText(), Verifier: randomText()}
	where, err := c.oidc.Begin(v.r.Context(), a)
	if err != nil {
		c.log.Error("the identity provider cannot be reached", "error", err)
		return c.render(v, http.StatusBadGateway, "login", "Sign in", "", c.loginForm("/", "The identity provider cannot be reached; the server's log has the reason."))
	}
	next := localPath(v.r.URL.Query().Get("next"))
	// Lax: the provider's answer comes from another site.
	http.SetCookie(v.w, &http.Cookie{Name: attemptCookie, Value: strings.Join([]string{a.State, a.Nonce, a.Verifier, base64.RawURLEncoding.EncodeToString([]byte(next))}, "."), Path: "/",
		MaxAge: int(attemptLife.Seconds()), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(v.w, v.r, where, http.StatusSeeOther)
	return nil
}

// finishOIDC takes the provider's answer.
func (c *Console) finishOIDC(v *visit) error {
	if c.oidc == nil {
		return store.ErrNotFound
	}
	refuse := func(why string) error {
		return c.render(v, http.StatusUnauthorized, "login", "Sign in", "", c.loginForm("/", why))
	}
	a, next, ok := attemptOf(v.r)
	http.SetCookie(v.w, &http.Cookie{Name: attemptCookie, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	q := v.r.URL.Query()
	if !ok || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(a.State)) != 1 || q.Get("code") == "" {
		return refuse("This sign-in was not begun in this browser, took longer than ten minutes, or was refused: try again.")
	}
	if wait := c.limits.Try(v.remote()); wait > 0 {
		v.w.Header().Set("Retry-After", waitError{wait: wait}.seconds())
		return c.render(v, http.StatusTooManyRequests, "login", "Sign in", "", c.loginForm("/", waitError{"your address", wait}.Error()))
	}
	p, err := c.oidc.Finish(v.r.Context(), a, q.Get("code"))
	if errors.Is(err, auth.ErrIdentity) {
		c.failed("oidc")
	} else {
		c.limits.Passed(v.remote())
	}
	if err != nil {
		c.log.Warn("sign-in refused", "error", err)
		if errors.Is(err, auth.ErrIdentity) {
			return refuse("The identity provider's answer did not hold; the server's log has the reason.")
		}
		return refuse("The identity provider cannot be reached; the server's log has the reason.")
	}
	if len(p.Roles) == 0 {
		return refuse("You are known, but none of your groups has a role here. An administrator gives groups their roles.")
	}
	sess := store.Session{Subject: p.ID, Name: p.Name, Roles: p.Roles, Expires: time.Now().Add(c.sessions.Life)}
	if err := c.addSession(v, signingIn{store.Actor{Kind: "user", ID: p.ID, Name: p.Name}, sess}); err != nil {
		return err
	}
	v.w.Header().Set("Refresh", "0; url="+next)
	// A redirect would still count as coming from the provider's site, and the strict
	// cookie would stay behind: the page leads on by itself.
	return c.render(v, http.StatusOK, "signed-in", "Signed in", "", next)
}

func attemptOf(r *http.Request) (a auth.Attempt, next string, ok bool) {
	cookie, err := r.Cookie(attemptCookie)
	if err != nil {
		return a, "", false
	}
	parts := strings.Split(cookie.Value, ".")
	if len(parts) != 4 || len(cookie.Value) > 4096 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return a, "", false
	}
	path, err := base64.RawURLEncoding.DecodeString(parts[3])
	return auth.Attempt{State: parts[0], Nonce: parts[1], Verifier: parts[2]}, localPath(string(path)), err == nil
}
