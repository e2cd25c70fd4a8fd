package server

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"weightwarden/internal/api"
)

// browse makes a client that keeps cookies, as a browser does.
func (r *running) browse(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := r.client(nil)
	c.Jar = jar
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func (r *running) post(t *testing.T, c *http.Client, path string, form url.Values) *http.Response {
	t.Helper()
	resp, err := c.PostForm(r.url+path, form)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func TestPagesNeedASession(t *testing.T) {
	r := start(t)
	c := r.browse(t)
	for _, page := range []string{"/", "/hits", "/hits/x", "/hits.csv", "/alerts", "/alerts/x", "/alerts.csv", "/navigator.json", "/models", "/agents"} {
		resp, err := c.Get(r.url + page)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(resp.Header.Get("Location"), "/login") {
			t.Errorf("%s without a session: %d to %q", page, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
	if resp := r.post(t, c, "/login", url.Values{"token": {"wwt1.wrong"}}); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("wrong token: %d", resp.StatusCode)
	}
	resp := r.post(t, c, "/login", url.Values{"token": {r.token}, "next": {"//evil.example/"}})
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/" {
		t.Errorf("login: %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	cookie := resp.Header.Get("Set-Cookie")
	for _, want := range []string{"__Host-", "HttpOnly", "Secure", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("cookie lacks %s", want)
		}
	}
	if resp := r.post(t, c, "/logout", nil); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a form without the CSRF token: %d", resp.StatusCode)
	}
	_, _, body := r.send(t, c, "", "GET", "/models", nil)
	csrf := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindSubmatch(body)
	if csrf == nil {
		t.Fatalf("no CSRF token in %.500s", body)
	}
	if resp := r.post(t, c, "/logout", url.Values{"csrf": {string(csrf[1])}}); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("logout: %d", resp.StatusCode)
	}
	if status, _, _ := r.send(t, c, "", "GET", "/models", nil); status != http.StatusSeeOther {
		t.Errorf("after the logout: %d", status)
	}
}

// What agents send reaches the pages escaped, visible and cut.
func TestHostileTextOnPages(t *testing.T) {
	r := start(t)
	id, agent := r.agent(t)
	h := sampleHit(id, 1)
	evil := "<script>alert(1)</script>\"'\x00\x1b[31m\u202e" + strings.Repeat("A", 70000)
	h.Verdict.Model, h.Host.Name, h.User.Name, h.Verdict.Sentence, h.Process.Name = evil, evil, evil, evil, evil
	h.Process.Args, h.Process.Exe, h.Destination.Detail, h.Destination.Class = []string{evil}, evil, evil, evil
	if status, _, out := r.send(t, agent, "", "POST", api.PathHits, api.HitBatch{Hits: []api.Hit{h}}); status != http.StatusOK {
		t.Fatalf("%d %s", status, out)
	}
	c := r.browse(t)
	r.post(t, c, "/login", url.Values{"token": {r.token}})
	hit := must[api.List[api.HitInfo]](t, r, "GET", "/v1/hits", nil).Items[0]
	for _, page := range []string{"/hits", "/hits/" + hit.ID, "/alerts", "/agents", "/hits?q=" + url.QueryEscape("<script>alert(1)")} {
		status, _, body := r.send(t, c, "", "GET", page, nil)
		if status != http.StatusOK {
			t.Errorf("%s: %d", page, status)
		}
		for _, bad := range []string{"<script>", "\u202e", "\x1b", "\x00"} {
			if strings.Contains(string(body), bad) {
				t.Errorf("%s has %q raw", page, bad)
			}
		}
		if len(body) > 200_000 {
			t.Errorf("%s has %d bytes", page, len(body))
		}
	}
}
