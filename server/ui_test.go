package server

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
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
	for _, next := range []string{"https://evil.example", "/\\evil.example/", "/\t/evil.example", "/\n/evil.example", "/\x1f/evil.example"} { // browsers leave tabs and line breaks out
		resp := r.post(t, r.anon, "/login", url.Values{"token": {r.token}, "next": {next}})
		if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/" {
			t.Errorf("login with %q: %d to %q", next, resp.StatusCode, resp.Header.Get("Location"))
		}
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
