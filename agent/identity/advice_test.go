package identity_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"weightwarden/agent/agenttest"
	"weightwarden/agent/identity"
	"weightwarden/internal/api"
)

// TestAdvice: whatever keeps a machine from being enrolled, the person who tries is
// told what to do.
func TestAdvice(t *testing.T) {
	srv, other := agenttest.NewServer(t), agenttest.NewServer(t)
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "https://" + closed.Addr().String()
	closed.Close()
	good := srv.Token.String()
	unknown := api.NewEnrolToken(srv.Token.Pin).String()
	for name, tt := range map[string]struct {
		server, token string
		want          string
	}{
		"no token":             {srv.HTTP.URL, "hello", "copy it whole"},
		"unknown token":        {srv.HTTP.URL, unknown, "'fpctl token new --enrol' makes another"},
		"plain HTTP":           {"http://127.0.0.1:1", good, "--server is the address"},
		"nobody there":         {nobody, good, "nothing listens there"},
		"unknown name":         {"https://nowhere.invalid:8443", good, "the name is not known"},
		"token of another":     {srv.HTTP.URL, other.Token.String(), "compare the pin"},
		"no TLS":               {strings.Replace(plain.URL, "http:", "https:", 1), good, "what answers there is not the server"},
		"another name":         {strings.Replace(srv.HTTP.URL, "127.0.0.1", "localhost", 1), good, `the server's certificate is for "127.0.0.1"`},
		"a path":               {srv.HTTP.URL + "/console", good, "without a path"},
		"the server is not up": {"down", good, "try again"},
	} {
		t.Run(name, func(t *testing.T) {
			server := tt.server
			if server == "down" {
				srv.Down(503, "")
				defer srv.Down(0, "")
				server = srv.HTTP.URL
			}
			_, err := identity.Enroll(t.Context(), t.TempDir(), server, tt.token, api.Host{Name: "h"}, "test")
			if err == nil {
				t.Fatal("enrolled")
			}
			if got := identity.Advice(err); !strings.Contains(got, tt.want) {
				t.Errorf("%v\nadvice: %s\nwant:   %s", err, got, tt.want)
			}
		})
	}
	dir := t.TempDir()
	id, err := identity.Enroll(t.Context(), dir, srv.HTTP.URL, good, api.Host{Name: "h"}, "test")
	if err != nil {
		t.Fatal(err)
	}
	if id.Ahead.Abs() > time.Minute {
		t.Errorf("the clock of this machine is %v ahead of its own", id.Ahead)
	}
	_, err = identity.Enroll(t.Context(), dir, srv.HTTP.URL, good, api.Host{Name: "h"}, "test")
	if got := identity.Advice(err); !strings.Contains(got, "move that file away") {
		t.Errorf("%v: %s", err, got)
	}
}
