package auth

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"weightwarden/server/store"
)

// Permission is what a route needs. The empty permission opens a route to all:
// only for what must be (health, CA certificate, login).
type Permission string

// Permissions.
const (
	Public       Permission = ""
	AsAgent      Permission = "agent" // a client certificate of an active agent
	ModelsRead   Permission = "models:read"
	ModelsWrite  Permission = "models:write"
	HitsRead     Permission = "hits:read"
	AlertsWrite  Permission = "alerts:write"
	CasesRead    Permission = "cases:read"
	CasesWrite   Permission = "cases:write"
	SignalsWrite Permission = "signals:write"
	AgentsRead   Permission = "agents:read"
	AgentsWrite  Permission = "agents:write"
	TokensWrite  Permission = "tokens:write"
	PolicyWrite  Permission = "policies:write"
	SweepsWrite  Permission = "sweeps:write"
	AuditRead    Permission = "audit:read"
	SettingWrite Permission = "settings:write"
	AuthorWrite  Permission = "authorisations:write"
	Approve      Permission = "authorisations:approve"
)

// Roles of people and programs. Who administers the system reads no hits and no
// cases by that; give a person both roles where that is meant.
const (
	RoleAdmin     = "admin"     // tokens, agents, policies, settings
	RoleAnalyst   = "analyst"   // hits, alerts, cases
	RoleReader    = "reader"    // reads hits and models
	RoleRegistrar = "registrar" // registers models; for CI
	RoleAuditor   = "auditor"   // audit log, agents and models, read only
	RoleApprover  = "approver"  // second person for authorisations
	RoleSignal    = "signal"    // other systems that tell of people and models; reads nothing
)

// grants returns the permissions of a role; nothing for an unknown one.
func grants(role string) []Permission {
	switch role {
	case RoleAdmin:
		return []Permission{ModelsRead, AgentsRead, AgentsWrite, TokensWrite, PolicyWrite, SweepsWrite, AuditRead, SettingWrite, AuthorWrite}
	case RoleAnalyst:
		return []Permission{ModelsRead, HitsRead, AlertsWrite, CasesRead, CasesWrite, SignalsWrite, AgentsRead, SweepsWrite, AuthorWrite}
	case RoleReader:
		return []Permission{ModelsRead, HitsRead, AgentsRead}
	case RoleRegistrar:
		return []Permission{ModelsRead, ModelsWrite}
	case RoleAuditor:
		return []Permission{ModelsRead, AgentsRead, AuditRead}
	case RoleApprover:
		return []Permission{ModelsRead, Approve}
	case RoleSignal:
		return []Permission{SignalsWrite}
	}
	return nil
}

// Roles lists every role.
func Roles() []string {
	return []string{RoleAdmin, RoleAnalyst, RoleReader, RoleRegistrar, RoleAuditor, RoleApprover, RoleSignal}
}

// AboutRole says in a few words what a role may do.
func AboutRole(role string) string {
	switch role {
	case RoleAdmin:
		return "accounts, tokens, agents, policies, settings; reads no hits and no cases"
	case RoleAnalyst:
		return "hits, alerts, cases, sweeps, authorisations"
	case RoleReader:
		return "reads hits, models and agents"
	case RoleRegistrar:
		return "registers models"
	case RoleAuditor:
		return "reads the audit log, agents and models"
	case RoleApprover:
		return "approves authorisations as the second person"
	case RoleSignal:
		return "tells of people and models, for other systems; reads nothing"
	}
	return ""
}

// CheckRoles refuses unknown roles and an empty list.
func CheckRoles(roles []string) error {
	if len(roles) == 0 {
		return errors.New("at least one role is needed: " + strings.Join(Roles(), ", "))
	}
	for _, r := range roles {
		if !slices.Contains(Roles(), r) {
			return fmt.Errorf("%.60q is no role: there are %s", r, strings.Join(Roles(), ", "))
		}
	}
	return nil
}

// Principal is who calls.
type Principal struct {
	store.Actor
	Roles   []string
	Session *store.Session // of the console; nil for tokens and agents
	Models  []string       // patterns of the models that it may change; none: all
	Owners  []string       // whose models it may change; none: everybody's
}

// Bound reports whether p may change some models only.
func (p *Principal) Bound() bool { return len(p.Models)+len(p.Owners) > 0 }

// MayOwn reports whether p may change models of an owner.
func (p *Principal) MayOwn(owner string) bool {
	return len(p.Owners) == 0 || slices.Contains(p.Owners, owner)
}

// MayChange reports whether p may read, register and remove a model, as far as its name
// goes.
func (p *Principal) MayChange(model string) bool {
	return len(p.Models) == 0 || slices.ContainsFunc(p.Models, func(pattern string) bool {
		ok, err := path.Match(pattern, model)
		return ok && err == nil
	})
}

// FromNetwork reports whether an address lies in one of the networks; without any,
// all do.
func FromNetwork(networks []string, remote string) bool {
	addr, err := netip.ParseAddr(remote)
	return len(networks) == 0 || err == nil && slices.ContainsFunc(networks, func(n string) bool {
		p, err := netip.ParsePrefix(n)
		return err == nil && p.Contains(addr.Unmap())
	})
}

// CheckScope refuses networks, patterns and owners that could never hold, and roles that
// a token bound to models or owners could never use.
func CheckScope(roles, networks, models, owners []string) error {
	if len(models)+len(owners) > 0 && !slices.Equal(roles, []string{RoleRegistrar}) {
		return fmt.Errorf("a token bound to models may do nothing but register them: give it the role %s alone", RoleRegistrar)
	}
	if len(networks) > 32 || len(models) > 32 || len(owners) > 32 {
		return errors.New("at most 32 networks, 32 patterns of models and 32 owners")
	}
	for _, o := range owners {
		if o == "" || len(o) > 200 || strings.Contains(o, ",") || strings.TrimSpace(o) != o {
			return fmt.Errorf("owner %.60q: want the name that models have, without commas", o)
		}
	}
	for _, n := range networks {
		if p, err := netip.ParsePrefix(n); err != nil || p != p.Masked() {
			return fmt.Errorf("network %.60q: want one like 10.1.0.0/16", n)
		}
	}
	for _, m := range models {
		if _, err := path.Match(m, ""); err != nil || m == "" || len(m) > 200 || strings.Contains(m, ",") {
			return fmt.Errorf("pattern %.60q: want one like team-a-*", m)
		}
	}
	return nil
}

// May reports whether p has a permission. Nobody has AsAgent but agents.
func (p *Principal) May(need Permission) bool {
	if p == nil {
		return need == Public
	}
	if p.Kind == "agent" {
		return need == AsAgent || need == Public
	}
	if need == Public {
		return true
	}
	return slices.ContainsFunc(p.Roles, func(r string) bool { return slices.Contains(grants(r), need) })
}

const tokenPrefix = "wwt1."

// NewToken makes the text and the secret of an API token.
func NewToken() (text string, secret []byte) {
	secret = make([]byte, 32)
	rand.Read(secret)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(secret), secret
}

// ParseToken returns the secret of an API token's text.
func ParseToken(text string) ([]byte, error) {
	body, ok := strings.CutPrefix(strings.TrimSpace(text), tokenPrefix)
	secret, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if !ok || err != nil || len(secret) != 32 {
		return nil, errors.New("not an API token (want wwt1.SECRET)")
	}
	return secret, nil
}
