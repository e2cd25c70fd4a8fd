// Package ui is the console: pages drawn by the server, for people. Everything
// that agents or files bring is hostile text: html/template escapes it, visible
// makes control and direction characters visible, and a strict content security
// policy runs nothing that is not ours: htmx for live parts, of a pinned version,
// and static/app.js for keys and times. Every page works without script, and no
// resource comes from elsewhere.
//
// A page is a route of Console.routes, a template beside layout.html (parts.html
// has what they share), and a handler that fills it. What needs a permission is
// said in the route; the menu shows a page when its route is there.
package ui

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"weightwarden/server/auth"
	"weightwarden/server/cases"
	"weightwarden/server/store"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// Console serves the pages.
type Console struct {
	store    *store.Store
	log      *slog.Logger
	version  string
	playbook *cases.Playbook
	sealer   Sealer
	sessions Sessions
	limits   *auth.Limiter // of sign-ins
	failed   func(kind string)
	// Shared with the API.
	passwords *auth.Hasher
	rates     *auth.Rates
	oidc      *auth.OIDC     // nil: people sign in here only
	passkeys  *auth.Passkeys // nil: none
	pages     map[string]*template.Template
	paths     map[string]auth.Permission // of every page that there is
	stamp     string                     // changes with the static files, so that browsers fetch new ones
}

// Sessions says how long people stay signed in.
type Sessions struct {
	Life time.Duration // at most
	Idle time.Duration // without doing anything
}

// Config is what a Console works with.
type Config struct {
	Store    *store.Store
	Playbook *cases.Playbook
	Sealer   Sealer
	Log      *slog.Logger
	Version  string // of the program
	Sessions Sessions
	// AuthFailed counts sign-ins that failed, by kind: password, token, oidc, passkey.
	AuthFailed func(kind string)
	Passwords  *auth.Hasher
	Rates      *auth.Rates
	OIDC       *auth.OIDC     // nil: none
	Passkeys   *auth.Passkeys // nil: none
}

// New parses the templates.
func New(cfg Config) (*Console, error) {
	c := &Console{store: cfg.Store, playbook: cfg.Playbook, sealer: cfg.Sealer, log: cfg.Log, version: cfg.Version, sessions: cfg.Sessions,
		limits: auth.NewLimiter(), failed: cfg.AuthFailed, passwords: cfg.Passwords, rates: cfg.Rates, oidc: cfg.OIDC, passkeys: cfg.Passkeys, pages: map[string]*template.Template{}}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		page := strings.TrimSuffix(path.Base(name), ".html")
		if page == "layout" || page == "parts" {
			continue
		}
		t, err := template.New("layout.html").Funcs(functions()).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html", name)
		if err != nil {
			return nil, fmt.Errorf("page %s: %w", page, err)
		}
		c.pages[page] = t
	}
	c.paths = map[string]auth.Permission{}
	for _, rt := range c.routes() {
		if rt.method == http.MethodGet {
			c.paths[strings.TrimSuffix(rt.pattern, "{$}")] = rt.need
		}
	}
	c.stamp, err = staticStamp()
	return c, err
}

// maxOpenForm bounds what strangers may send: a sign-in.
const maxOpenForm = 64 << 10

// visit is one request for a page.
type visit struct {
	w       http.ResponseWriter
	r       *http.Request
	who     *auth.Principal // nil: not logged in, only on open pages
	cookie  []byte
	version string
}

type pageHandler func(v *visit) error

// route is one page. State changes are POST and carry the session's CSRF token.
type route struct {
	method  string
	pattern string
	need    auth.Permission
	handle  pageHandler
}

// signedIn is the need of pages that everybody has who is signed in, whatever the roles.
const signedIn auth.Permission = "signed in"

func (c *Console) routes() []route {
	return slices.Concat(c.accountPages(), c.workPages(), c.fleetPages(), c.adminPages())
}

// accountPages are signing in, and a person's own account.
func (c *Console) accountPages() []route {
	return []route{
		{"GET", "/login", auth.Public, c.loginPage},
		{"POST", "/login", auth.Public, c.login},
		{"GET", "/login/oidc", auth.Public, c.beginOIDC},
		{"GET", auth.CallbackPath, auth.Public, c.finishOIDC},
		{"POST", "/login/passkey", auth.Public, c.beginPasskeySignIn},
		{"POST", "/logout", auth.Public, c.logout},
		{"GET", "/account", signedIn, c.accountPage},
		{"POST", "/account", signedIn, c.changePassword},
		{"POST", "/account/passkeys/begin", signedIn, c.beginPasskey},
		{"POST", "/account/passkeys", signedIn, c.addPasskey},
		{"POST", "/account/passkeys/{id}/delete", signedIn, c.deletePasskey},
	}
}

// workPages are what analysts work on: hits, alerts, cases.
func (c *Console) workPages() []route {
	return []route{
		{"GET", "/{$}", auth.ModelsRead, c.overview},
		{"GET", "/hits", auth.HitsRead, c.hits},
		{"GET", "/hits/{id}", auth.HitsRead, c.hit},
		{"GET", "/hits.csv", auth.HitsRead, c.hitsCSV},
		{"GET", "/alerts", auth.HitsRead, c.alerts},
		{"GET", "/alerts.csv", auth.HitsRead, c.alertsCSV},
		{"GET", "/alerts/{id}", auth.HitsRead, c.alert},
		{"POST", "/alerts/bulk", auth.AlertsWrite, c.changeAlerts},
		{"POST", "/alerts/{id}", auth.AlertsWrite, c.changeAlerts},
		{"GET", "/cases", auth.CasesRead, c.cases},
		{"GET", "/cases.csv", auth.CasesRead, c.casesCSV},
		{"GET", "/cases/new", auth.CasesWrite, c.newCase},
		{"POST", "/cases", auth.CasesWrite, c.openCase},
		{"GET", "/cases/{id}", auth.CasesRead, c.caseView},
		{"POST", "/cases/{id}", auth.CasesWrite, c.changeCase},
		{"GET", "/cases/{id}/report", auth.CasesRead, c.caseReport},
		{"GET", "/cases/{id}/bundle", auth.CasesRead, c.bundle},
		{"GET", "/kpis", auth.CasesRead, c.kpis},
		{"GET", "/navigator.json", auth.HitsRead, c.navigator},
		{"POST", "/views", auth.ModelsRead, c.saveView},
		{"POST", "/views/{id}/delete", auth.ModelsRead, c.deleteView},
		{"GET", "/search", auth.ModelsRead, c.search},
	}
}

// fleetPages are models, their copies, and the agents that look for them.
func (c *Console) fleetPages() []route {
	return []route{
		{"GET", "/models", auth.ModelsRead, c.models},
		{"GET", "/models.csv", auth.ModelsRead, c.modelsCSV},
		{"GET", "/models/{name}", auth.ModelsRead, c.model},
		{"GET", "/inventory", auth.HitsRead, c.inventory},
		{"GET", "/inventory.csv", auth.HitsRead, c.inventoryCSV},
		{"GET", "/reconcile", auth.HitsRead, c.reconcile},
		{"GET", "/reconcile.csv", auth.HitsRead, c.reconcileCSV},
		{"GET", "/agents", auth.AgentsRead, c.agents},
		{"GET", "/agents.csv", auth.AgentsRead, c.agentsCSV},
		{"GET", "/agents/{id}", auth.AgentsRead, c.agent},
		{"POST", "/agents/{id}/state", auth.AgentsWrite, c.setAgentState},
		{"GET", "/sweeps", auth.AgentsRead, c.sweeps},
		{"GET", "/sweeps.csv", auth.AgentsRead, c.sweepsCSV},
		{"GET", "/sweeps/{id}", auth.AgentsRead, c.sweep},
		{"POST", "/sweeps", auth.SweepsWrite, c.addSweep},
		{"GET", "/policies", auth.AgentsRead, c.policies},
		{"GET", "/policies.csv", auth.AgentsRead, c.policiesCSV},
		{"GET", "/policies/{name}", auth.AgentsRead, c.policy},
		{"POST", "/policies/{name}/rollback", auth.PolicyWrite, c.rollbackPolicy},
	}
}

// adminPages are the audit log and the settings.
func (c *Console) adminPages() []route {
	return []route{
		{"GET", "/audit", auth.AuditRead, c.audit},
		{"GET", "/audit.csv", auth.AuditRead, c.auditCSV},
		{"GET", "/audit/{seq}", auth.AuditRead, c.auditEntry},
		{"POST", "/audit/check", auth.AuditRead, c.checkAudit},
		{"GET", "/settings", auth.TokensWrite, c.settings},
		{"POST", "/settings/tokens/{id}/revoke", auth.TokensWrite, c.revokeToken},
		{"POST", "/settings/enrol-tokens/{id}/revoke", auth.TokensWrite, c.revokeEnrolToken},
		{"POST", "/settings/sessions/{subject}/end", auth.TokensWrite, c.endSessions},
		{"POST", "/settings/accounts", auth.TokensWrite, c.addPerson},
		{"GET", "/settings/accounts/{id}", auth.TokensWrite, c.person},
		{"POST", "/settings/accounts/{id}/state", auth.TokensWrite, c.setAccountState},
		{"POST", "/settings/accounts/{id}/roles", auth.TokensWrite, c.setAccountRoles},
		{"POST", "/settings/accounts/{id}/password", auth.TokensWrite, c.resetPassword},
	}
}

// Register adds the pages to mux.
func (c *Console) Register(mux *http.ServeMux) {
	for _, rt := range c.routes() {
		mux.Handle(rt.method+" "+rt.pattern, c.wrap(rt))
	}
	static, err := fs.Sub(staticFiles, "static")
	if err == nil { // a constant name: it cannot fail
		files := http.StripPrefix("/static/", http.FileServerFS(static))
		mux.HandleFunc("GET /static/", func(w http.ResponseWriter, r *http.Request) {
			secure(w.Header())
			w.Header().Set("Cache-Control", "max-age=86400")
			files.ServeHTTP(w, r)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		c.fail(&visit{w: w, r: r}, store.ErrNotFound)
	})
}

func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

func (c *Console) wrap(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		if rt.need == auth.Public {
			r.Body = http.MaxBytesReader(w, r.Body, maxOpenForm)
		}
		v := &visit{w: w, r: r, version: c.version}
		if err := c.serve(rt, v); err != nil {
			c.fail(v, err)
		}
	})
}

var (
	errLogin     = errors.New("not logged in")
	errForbidden = errors.New("your roles do not allow this")
	errTooLong   = errors.New("the table ends here: a download has at most 100 000 lines")
	errCSRF      = errors.New("this form was not sent from the console's own page, or your session ended meanwhile")
)

// inputError is a form or address that cannot be followed, in words for the visitor.
type inputError string

func (e inputError) Error() string { return string(e) }

// tooFast is how long somebody has to wait who asks for too many pages.
type tooFast time.Duration

func (tooFast) Error() string { return "too many requests" }

func (c *Console) serve(rt route, v *visit) error {
	if err := c.identify(v); err != nil {
		return err
	}
	caller := auth.Network(v.remote())
	if v.who != nil {
		caller = v.who.ID
	}
	if wait := c.rates.Wait(caller, time.Now()); wait > 0 {
		return tooFast(wait)
	}
	if rt.need != auth.Public {
		if v.who == nil {
			return errLogin
		}
		if v.who.Session.Temporary && rt.need != signedIn {
			http.Redirect(v.w, v.r, "/account", http.StatusSeeOther)
			return nil
		}
		if rt.need != signedIn && !v.who.May(rt.need) {
			return errForbidden
		}
	}
	if rt.method == http.MethodPost {
		if err := c.checkForm(v); err != nil {
			return err
		}
	}
	return rt.handle(v)
}

// checkForm refuses what another site sent, and text that no database keeps.
func (c *Console) checkForm(v *visit) error {
	if csrf := v.r.PostFormValue("csrf"); v.who != nil && csrf != v.who.Session.CSRF {
		return errCSRF
	}
	for _, values := range v.r.PostForm {
		if slices.ContainsFunc(values, func(text string) bool { return !store.Keeps(text) }) {
			return inputError("the form has a NUL, or is not UTF-8")
		}
	}
	return nil
}

// identify finds the session of a visit; v.who stays nil where there is none.
func (c *Console) identify(v *visit) error {
	cookie, err := v.r.Cookie(cookieName)
	if err != nil {
		return nil // no cookie: a stranger, which is no error
	}
	v.cookie = []byte(cookie.Value)
	sess, err := c.store.SessionByCookie(v.r.Context(), v.cookie, c.sessions.Idle)
	if errors.Is(err, store.ErrNotFound) || err == nil && !auth.FromNetwork(sess.Networks, v.remote()) {
		return nil
	}
	if err != nil {
		return err
	}
	v.who = &auth.Principal{Actor: store.Actor{Kind: "user", ID: sess.Subject, Name: sess.Name, Remote: v.remote()}, Roles: sess.Roles, Session: &sess}
	// What a page asks for by itself is no sign of life.
	if v.r.Header.Get("HX-Request") == "" {
		return c.store.TouchSession(v.r.Context(), v.cookie, sess)
	}
	return nil
}

// remote is the visitor's address without the port, "" where there is none.
func (v *visit) remote() string {
	host, _, _ := net.SplitHostPort(v.r.RemoteAddr)
	return host
}

type failure struct {
	Heading string
	Text    string
}

func (c *Console) fail(v *visit, err error) {
	status, f := http.StatusInternalServerError, failure{"Something failed", "The server's log has the reason."}
	var input inputError
	var fast tooFast
	switch {
	case errors.As(err, &fast):
		seconds := strconv.Itoa(int(time.Duration(fast).Seconds()) + 1)
		v.w.Header().Set("Retry-After", seconds)
		status, f = http.StatusTooManyRequests, failure{"Too fast", "You ask for more pages than this server gives to one visitor: try again in " + seconds + " s."}
	case errors.Is(err, errLogin) && v.r.Header.Get("HX-Request") != "":
		v.w.Header().Set("HX-Refresh", "true") // the whole page leads to the login
		v.w.WriteHeader(http.StatusUnauthorized)
		return
	case errors.Is(err, errLogin):
		http.Redirect(v.w, v.r, "/login?"+url.Values{"next": {v.r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
		return
	case errors.Is(err, errForbidden), errors.Is(err, errCSRF):
		status, f = http.StatusForbidden, failure{"Not allowed", "Refused: " + err.Error() + "."}
	case errors.Is(err, store.ErrConflict):
		status, f = http.StatusConflict, failure{"Not done", visible(err.Error()) + "."}
	case errors.As(err, &input):
		status, f = http.StatusUnprocessableEntity, failure{"Not done", "Refused: " + visible(string(input)) + "."}
	case errors.Is(err, store.ErrNotFound):
		status, f = http.StatusNotFound, failure{"Not found", "There is nothing at this address."}
	default:
		c.log.Error("page failed", "page", v.r.URL.Path, "error", err)
	}
	if rerr := c.render(v, status, "error", f.Heading, "", f); rerr != nil {
		c.log.Error("error page failed", "error", rerr)
		http.Error(v.w, f.Heading, status)
	}
}
