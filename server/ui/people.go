package ui

import (
	"net/http"
	"strings"

	"weightwarden/server/auth"
	"weightwarden/server/store"
)

type roleChoice struct {
	Name, About string
	Has         bool
}

func roleChoices(has []string) []roleChoice {
	var out []roleChoice
	for _, r := range auth.Roles() {
		choice := roleChoice{Name: r, About: auth.AboutRole(r)}
		for _, h := range has {
			choice.Has = choice.Has || h == r
		}
		out = append(out, choice)
	}
	return out
}

type personPage struct {
	store.Account
	Password string // made this moment, and shown on this page only
	Own      bool
	Choices  []roleChoice
}

func (c *Console) person(v *visit) error {
	return c.renderPerson(v, http.StatusOK, v.r.PathValue("id"), "")
}

func (c *Console) renderPerson(v *visit, status int, id, password string) error {
	a, _, err := c.store.AccountByID(v.r.Context(), id)
	if err != nil {
		return err
	}
	return c.render(v, status, "person", a.Name, "settings", personPage{Account: a, Password: password, Own: id == v.who.ID, Choices: roleChoices(a.Roles)})
}

// addPerson makes an account, and shows its first password this once.
func (c *Console) addPerson(v *visit) error {
	a := store.Account{Name: strings.TrimSpace(v.r.PostFormValue("name")), Roles: v.r.PostForm["role"]}
	if err := auth.CheckName(a.Name); err != nil {
		return inputError(err.Error())
	}
	if err := auth.CheckRoles(a.Roles); err != nil {
		return inputError(err.Error())
	}
	password := auth.NewPassword()
	phc, err := c.passwords.Hash(v.r.Context(), password)
	if err != nil {
		return err
	}
	if a, err = c.store.AddAccount(v.r.Context(), v.who.Actor, a, phc); err != nil {
		return err
	}
	return c.renderPerson(v, http.StatusCreated, a.ID, password)
}

// other is the account of the address, which must be somebody else's: nobody gives
// himself roles.
func other(v *visit) (string, error) {
	id := v.r.PathValue("id")
	if id == v.who.ID {
		return "", inputError("another administrator has to do this to your account")
	}
	return id, nil
}

func (c *Console) setAccountState(v *visit) error {
	id, err := other(v)
	if err != nil {
		return err
	}
	if err := c.store.DisableAccount(v.r.Context(), v.who.Actor, id, v.r.PostFormValue("state") == "disabled"); err != nil {
		return err
	}
	return c.back(v, "/settings/accounts/"+id)
}

func (c *Console) setAccountRoles(v *visit) error {
	id, err := other(v)
	if err != nil {
		return err
	}
	roles := v.r.PostForm["role"] // parsed for the CSRF token
	if err := auth.CheckRoles(roles); err != nil {
		return inputError(err.Error())
	}
	if err := c.store.SetAccountRoles(v.r.Context(), v.who.Actor, id, roles); err != nil {
		return err
	}
	return c.back(v, "/settings/accounts/"+id)
}

func (c *Console) resetPassword(v *visit) error {
	id, err := other(v)
	if err != nil {
		return err
	}
	password := auth.NewPassword()
	phc, err := c.passwords.Hash(v.r.Context(), password)
	if err != nil {
		return err
	}
	if err := c.store.SetPassword(v.r.Context(), v.who.Actor, id, phc); err != nil {
		return err
	}
	return c.renderPerson(v, http.StatusOK, id, password)
}
