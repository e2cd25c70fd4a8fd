package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/internal/durable"
)

// settings are what login keeps.
type settings struct {
	Server string `json:"server"`
	Token  string `json:"token"`
	CA     string `json:"ca"` // PEM; the only root that is trusted
}

func configDir(env *cli.Env) (string, error) {
	if dir := env.Getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "weightwarden"), nil
	}
	home := env.Getenv("HOME")
	if home == "" {
		return "", errors.New("neither XDG_CONFIG_HOME nor HOME says where settings lie")
	}
	return filepath.Join(home, ".config", "weightwarden"), nil
}

func loadSettings(env *cli.Env) (*settings, error) {
	var set settings
	if dir, err := configDir(env); err == nil {
		b, err := os.ReadFile(filepath.Join(dir, "server.json"))
		if err == nil {
			err = json.Unmarshal(b, &set)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("settings: %w", err)
		}
	}
	if v := env.Getenv("WEIGHTWARDEN_SERVER"); v != "" {
		set.Server = v
	}
	if v := env.Getenv("WEIGHTWARDEN_TOKEN"); v != "" {
		set.Token = v
	}
	if v := env.Getenv("WEIGHTWARDEN_CA"); v != "" {
		pem, err := os.ReadFile(v)
		if err != nil {
			return nil, err
		}
		set.CA = string(pem)
	}
	if set.Server == "" || set.Token == "" {
		return nil, cli.Hint(errors.New("no server to talk to"), "'fpctl login https://HOST:8443' sets one; for CI set WEIGHTWARDEN_SERVER, WEIGHTWARDEN_TOKEN and WEIGHTWARDEN_CA")
	}
	return &set, nil
}

func (set *settings) save(env *cli.Env) (string, error) {
	dir, err := configDir(env)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	b, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "server.json")
	return path, durable.WriteFile(path, append(b, '\n'), 0o600)
}

// client talks to one server with one token.
type client struct {
	base  *url.URL
	token string
	http  *http.Client
}

func newClient(set *settings) (*client, error) {
	base, err := url.Parse(strings.TrimRight(set.Server, "/"))
	if err != nil || base.Scheme != "https" || base.Host == "" {
		return nil, cli.Hint(fmt.Errorf("server %.200q is no https URL", set.Server), "write it like https://warden.example:8443")
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if set.CA != "" {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM([]byte(set.CA)) {
			return nil, errors.New("the CA is no PEM certificate")
		}
	}
	return &client{base: base, token: set.Token, http: &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, Proxy: http.ProxyFromEnvironment,
		TLSHandshakeTimeout: 15 * time.Second, ResponseHeaderTimeout: 10 * time.Minute}}}, nil
}

// connect makes the client that the settings say.
func connect(env *cli.Env) (*client, error) {
	set, err := loadSettings(env)
	if err != nil {
		return nil, err
	}
	return newClient(set)
}

const maxAnswer = 64 << 20

// call sends a request with an optional JSON body and reads a JSON answer.
func (c *client) call(ctx context.Context, method, path string, query url.Values, body, answer any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	resp, err := c.do(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil || answer == nil {
		return err
	}
	if text, ok := answer.(*[]byte); ok {
		*text = b
		return nil
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return fmt.Errorf("the server's answer to %s: %w", path, err)
	}
	return nil
}

func (c *client) do(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.patient(req)
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return nil, cli.Hint(err, "'fpctl login %s' shows the server's CA and keeps it", c.base)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

// Waiting for a server that says when to come again.
const (
	maxTries = 5
	maxWait  = time.Minute
)

// busy returns how long a server that is not ready asks to wait.
func busy(resp *http.Response) (time.Duration, bool) {
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	wait := time.Duration(seconds) * time.Second
	return wait, (resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable) && err == nil && wait >= 0 && wait <= maxWait
}

// patient sends a request again when the server asks for that. The body must be one
// that http.NewRequest can read again, or none.
func (c *client) patient(req *http.Request) (*http.Response, error) {
	for try := 1; ; try++ {
		resp, err := c.http.Do(req)
		if err != nil {
			return nil, err
		}
		wait, again := busy(resp)
		if !again || try == maxTries || req.Body != nil && req.GetBody == nil {
			return resp, nil
		}
		resp.Body.Close()
		select {
		case <-req.Context().Done():
			return nil, req.Context().Err()
		case <-time.After(wait):
		}
		if req.GetBody != nil {
			if req.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

// statusError is an answer that is no success.
type statusError struct {
	status int
	text   string
}

// Error implements error.
func (e *statusError) Error() string { return e.text }

// refusal makes an error of an answer that is no success.
func refusal(resp *http.Response) error {
	var p api.Problem
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil || json.Unmarshal(b, &p) != nil || p.Title == "" {
		return &statusError{resp.StatusCode, "the server answered " + resp.Status}
	}
	err = &statusError{resp.StatusCode, fmt.Sprintf("the server answered %d %s: %s", resp.StatusCode, p.Title, p.Detail)}
	if p.Hint != "" {
		err = cli.Hint(err, "%s", p.Hint)
	}
	return err
}

// each calls fn with every item of a paged list, at most limit (0: all).
func each[T any](ctx context.Context, c *client, path string, query url.Values, limit int, fn func(T) error) error {
	if query == nil {
		query = url.Values{}
	}
	for n := 0; ; {
		var page api.List[T]
		if err := c.call(ctx, http.MethodGet, path, query, nil, &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			if err := fn(item); err != nil {
				return err
			}
			if n++; limit > 0 && n >= limit {
				return nil
			}
		}
		if page.Next == "" {
			return nil
		}
		query.Set("after", page.Next)
	}
}
