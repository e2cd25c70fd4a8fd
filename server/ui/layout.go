package ui

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/zeebo/blake3"

	"weightwarden/server/auth"
)

// entry is one line of the menu.
type entry struct {
	Name  string // as handlers name it in render
	Path  string
	Label string
	Key   string // pressed after g
	Rule  bool   // a line above it
}

// menu is in the order of a working day. Entries whose page is not there, or that
// the visitor may not see, are left out.
func menu() []entry {
	return []entry{
		{"overview", "/", "Overview", "o", false},
		{"alerts", "/alerts", "Alerts", "a", false},
		{"cases", "/cases", "Cases", "c", false},
		{"hits", "/hits", "Hits", "h", false},
		{"models", "/models", "Models", "m", true},
		{"inventory", "/inventory", "Inventory", "i", false},
		{"agents", "/agents", "Agents", "e", false},
		{"sweeps", "/sweeps", "Sweeps", "s", false},
		{"policies", "/policies", "Policies", "p", true},
		{"audit", "/audit", "Audit", "u", false},
		{"settings", "/settings", "Settings", "t", false},
	}
}

// layout is what every page has.
type layout struct {
	Title   string
	Nav     string // the entry of the menu that is shown as current
	Who     *auth.Principal
	CSRF    string
	Version string
	Stamp   string
	Now     time.Time // the server's, which countdowns follow
	Query   string    // of the address, for links back to this view
	Here    string    // path and query of the address
	Data    any
	paths   map[string]auth.Permission
}

// May reports whether the visitor has a permission.
func (l layout) May(need string) bool { return l.Who.May(auth.Permission(need)) }

// Has reports whether there is a page and the visitor may see it.
func (l layout) Has(path string) bool {
	need, ok := l.paths[path]
	return ok && l.Who.May(need)
}

// Menu is what of the menu the visitor sees.
func (l layout) Menu() []entry {
	var out []entry
	rule := false
	for _, e := range menu() {
		rule = rule || e.Rule
		if l.Has(e.Path) {
			e.Rule, rule = rule && len(out) > 0, false
			out = append(out, e)
		}
	}
	return out
}

func (c *Console) render(v *visit, status int, page, title, nav string, data any) error {
	l := layout{Title: title, Nav: nav, Who: v.who, Version: c.version, Stamp: c.stamp, Now: time.Now(), Data: data, paths: c.paths}
	if v.r.URL != nil {
		l.Query, l.Here = v.r.URL.RawQuery, v.r.URL.RequestURI()
	}
	if v.who != nil {
		l.CSRF = v.who.Session.CSRF
	}
	var buf bytes.Buffer // so that a template that fails does not leave half a page
	if err := c.pages[page].ExecuteTemplate(&buf, "layout.html", l); err != nil {
		return fmt.Errorf("page %s: %w", page, err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = buf.WriteTo(v.w) // the visitor may be gone
	return nil
}

// back sends the visitor to a page of the console after a form.
func (c *Console) back(v *visit, to string) error {
	http.Redirect(v.w, v.r, localPath(to), http.StatusSeeOther)
	return nil
}

// staticStamp is a digest over the static files.
func staticStamp() (string, error) {
	sum := blake3.New()
	err := fs.WalkDir(staticFiles, "static", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := staticFiles.ReadFile(path)
		sum.Write(b)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)[:6]), err
}
