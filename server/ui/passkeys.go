package ui

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"weightwarden/server/auth"
	"weightwarden/server/store"
)

const ticketCookie = "__Host-weightwarden-passkey"

// ask answers with a question for the browser, and gives it the ticket that belongs to it.
func (c *Console) ask(v *visit, question []byte, ticket string, err error) error {
	if err != nil {
		return err
	}
	http.SetCookie(v.w, &http.Cookie{Name: ticketCookie, Value: ticket, Path: "/", MaxAge: int(auth.TicketLife.Seconds()), Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	v.w.Header().Set("Content-Type", "application/json")
	_, _ = v.w.Write(question) // the visitor may be gone
	return nil
}

// ticket takes the ticket back; "" for none.
func (v *visit) ticket() string {
	cookie, err := v.r.Cookie(ticketCookie)
	http.SetCookie(v.w, &http.Cookie{Name: ticketCookie, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	if err != nil {
		return ""
	}
	return cookie.Value
}

func (c *Console) passkeyOwner(ctx context.Context, account string) (auth.PasskeyOwner, error) {
	a, _, err := c.store.AccountByID(ctx, account)
	if err != nil {
		return auth.PasskeyOwner{}, err
	}
	keys, err := c.store.Passkeys(ctx, account)
	who := auth.PasskeyOwner{ID: a.ID, Name: a.Name}
	for _, k := range keys {
		who.Keys = append(who.Keys, k.Record)
	}
	return who, err
}

// beginPasskey asks for the password once more: a browser that was left alone must not
// give somebody a way in for good.
func (c *Console) beginPasskey(v *visit) error {
	if c.passkeys == nil || v.who.Session.Temporary {
		return store.ErrNotFound
	}
	who, err := c.passkeyOwner(v.r.Context(), v.who.ID)
	if err != nil {
		return err
	}
	if _, err := c.checkPassword(v, who.Name, v.r.PostFormValue("password")); err != nil {
		return c.refuseAsking(v, err)
	}
	if err := c.store.AttemptPassed(v.r.Context(), who.ID); err != nil {
		return err
	}
	question, ticket, err := c.passkeys.BeginRegister(who)
	return c.ask(v, question, ticket, err)
}

// refuseAsking says in plain text why there is no question; the page's script shows it.
func (c *Console) refuseAsking(v *visit, err error) error {
	status, why := http.StatusUnprocessableEntity, "The password you have is another one."
	var wait waitError
	switch {
	case errors.As(err, &wait):
		v.w.Header().Set("Retry-After", wait.seconds())
		status, why = http.StatusTooManyRequests, wait.Error()
	case errors.Is(err, auth.ErrBusy):
		v.w.Header().Set("Retry-After", "5")
		status, why = http.StatusServiceUnavailable, errBusy
	case errors.Is(err, store.ErrNotFound):
		c.failed("password")
	default:
		return err
	}
	v.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = v.w.Write([]byte(why)) // the visitor may be gone
	return nil
}

func (c *Console) addPasskey(v *visit) error {
	if c.passkeys == nil || v.who.Session.Temporary {
		return store.ErrNotFound
	}
	name := strings.TrimSpace(v.r.PostFormValue("name"))
	if name == "" || len(name) > 100 {
		return inputError("name the device with 1 to 100 letters")
	}
	who, err := c.passkeyOwner(v.r.Context(), v.who.ID)
	if err != nil {
		return err
	}
	id, record, err := c.passkeys.Register(who, v.ticket(), []byte(v.r.PostFormValue("answer")))
	if errors.Is(err, auth.ErrPasskey) {
		c.log.Warn("passkey refused", "remote", v.remote(), "error", err)
		return inputError("the device's answer did not hold; the server's log has the reason")
	}
	if err != nil {
		return err
	}
	if err := c.store.AddPasskey(v.r.Context(), v.who.Actor, store.Passkey{ID: id, Account: who.ID, Name: name, Record: record}); err != nil {
		return err
	}
	return c.back(v, "/account")
}

func (c *Console) deletePasskey(v *visit) error {
	if err := c.store.DeletePasskey(v.r.Context(), v.who.Actor, v.who.ID, v.r.PathValue("id")); err != nil {
		return err
	}
	return c.back(v, "/account")
}

// beginPasskeySignIn asks any passkey of this server; nothing is kept of it here.
func (c *Console) beginPasskeySignIn(v *visit) error {
	if c.passkeys == nil {
		return store.ErrNotFound
	}
	question, ticket, err := c.passkeys.BeginSignIn()
	return c.ask(v, question, ticket, err)
}

// provePasskey finds whose passkey answered, or ErrNotFound.
func (c *Console) provePasskey(v *visit, answer string) (signingIn, error) {
	if c.passkeys == nil {
		return signingIn{}, store.ErrNotFound
	}
	ctx := v.r.Context()
	use, err := c.passkeys.SignIn(v.ticket(), []byte(answer), func(account string) (auth.PasskeyOwner, error) { return c.passkeyOwner(ctx, account) })
	if errors.Is(err, auth.ErrPasskey) {
		c.log.Warn("passkey refused", "remote", v.remote(), "error", err)
		err = store.ErrNotFound
	}
	if err != nil {
		return signingIn{}, err
	}
	a, _, err := c.store.AccountByID(ctx, use.Account)
	if err != nil {
		return signingIn{}, err
	}
	return signingIn{store.Actor{Kind: "user", ID: a.ID, Name: a.Name}, store.Session{Subject: a.ID, Name: a.Name, Roles: a.Roles, Expires: time.Now().Add(c.sessions.Life),
		Passkey: &store.PasskeyUse{ID: use.ID, Record: use.Record, Begun: use.Begun}}}, nil
}
