package ui

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"weightwarden/server/auth"
	"weightwarden/server/store"
)

const (
	// The prefix makes browsers insist on Secure, Path=/ and no Domain.
	cookieName  = "__Host-weightwarden"
	sessionLife = 12 * time.Hour
)

type loginForm struct {
	Next  string
	Error string
}

func (c *Console) loginPage(v *visit) error {
	next := localPath(v.r.URL.Query().Get("next"))
	if v.who != nil {
		http.Redirect(v.w, v.r, next, http.StatusSeeOther)
		return nil
	}
	return c.render(v, http.StatusOK, "login", "Sign in", "", loginForm{Next: next})
}

// localPath lets a redirect lead nowhere but to a page of the console.
func localPath(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n") {
		return "/"
	}
	return next
}

// login makes a new session from a token. An older session of the same browser is
// ended, so that nobody can plant one in advance. SameSite=Strict on the cookie
// and the check of the site keep other sites from posting the form.
func (c *Console) login(v *visit) error {
	if site := v.r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return errCSRF
	}
	next := localPath(v.r.PostFormValue("next"))
	secret, err := auth.ParseToken(v.r.PostFormValue("token"))
	var t store.Token
	if err == nil {
		t, err = c.store.TokenBySecret(v.r.Context(), secret)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	if err != nil {
		return c.render(v, http.StatusUnauthorized, "login", "Sign in", "", loginForm{Next: next, Error: "That token is not known here, or it was revoked or has expired."})
	}
	cookie := randomText()
	expires := time.Now().Add(sessionLife)
	if !t.Expires.IsZero() && t.Expires.Before(expires) {
		expires = t.Expires
	}
	sess := store.Session{Subject: t.ID, Name: t.Name, Roles: t.Roles, TokenID: t.ID, CSRF: randomText(), Expires: expires}
	if v.cookie != nil {
		if err := c.store.EndSession(v.r.Context(), v.cookie); err != nil {
			return err
		}
	}
	if err := c.store.AddSession(v.r.Context(), store.Actor{Kind: "user", ID: t.ID, Name: t.Name, Remote: v.r.RemoteAddr}, sess, []byte(cookie)); err != nil {
		return err
	}
	http.SetCookie(v.w, &http.Cookie{Name: cookieName, Value: cookie, Path: "/", Expires: expires, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(v.w, v.r, next, http.StatusSeeOther)
	return nil
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
