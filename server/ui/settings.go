package ui

import (
	"net/http"

	"weightwarden/server/auth"
	"weightwarden/server/store"
)

type settingsPage struct {
	Accounts  []store.Account
	Tokens    []store.Token
	Enrol     []store.EnrolToken
	Sessions  []store.Session
	Targets   []store.Target
	Waiting   map[string]int // messages by target
	Retention store.Retention
	Holds     []store.Hold
	Me        string
	Choices   []roleChoice // for a new account
}

// settings needs both the permission for tokens, which the route names, and the one
// for settings: administrators have both.
func (c *Console) settings(v *visit) error {
	if !v.who.May(auth.SettingWrite) {
		return errForbidden
	}
	ctx := v.r.Context()
	p := settingsPage{Me: v.who.ID, Choices: roleChoices(nil)}
	var err error
	for _, load := range []func() error{
		func() error { p.Accounts, err = c.store.Accounts(ctx); return err },
		func() error { p.Tokens, err = c.store.Tokens(ctx); return err },
		func() error { p.Enrol, err = c.store.EnrolTokens(ctx); return err },
		func() error { p.Sessions, err = c.store.Sessions(ctx); return err },
		func() error { p.Targets, p.Waiting, err = c.store.Targets(ctx); return err },
		func() error { p.Retention, err = c.store.Retention(ctx); return err },
		func() error { p.Holds, err = c.store.Holds(ctx); return err },
	} {
		if err := load(); err != nil {
			return err
		}
	}
	return c.render(v, http.StatusOK, "settings", "Settings", "settings", p)
}

func (c *Console) revokeToken(v *visit) error {
	if err := c.store.RevokeToken(v.r.Context(), v.who.Actor, v.r.PathValue("id")); err != nil {
		return err
	}
	return c.back(v, "/settings")
}

func (c *Console) revokeEnrolToken(v *visit) error {
	if err := c.store.RevokeEnrolToken(v.r.Context(), v.who.Actor, v.r.PathValue("id")); err != nil {
		return err
	}
	return c.back(v, "/settings")
}

func (c *Console) endSessions(v *visit) error {
	if err := c.store.EndSessions(v.r.Context(), v.who.Actor, v.r.PathValue("subject")); err != nil {
		return err
	}
	return c.back(v, "/settings")
}
