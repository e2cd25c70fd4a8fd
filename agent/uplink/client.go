package uplink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"

	"weightwarden/agent/identity"
	"weightwarden/internal/api"
)

// maxAnswer bounds what is read of an answer other than a blob.
const maxAnswer = 4 << 20

// StatusError is an answer that is no success.
type StatusError struct {
	Status     int
	Text       string
	RetryAfter time.Duration
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("the server answered %d: %s", e.Status, e.Text)
}

// Client talks to one server as one agent.
type Client struct {
	base      *url.URL
	http      *http.Client
	transport *http.Transport
}

// NewClient returns a client for the server of an identity; server overrides its
// address where it is not "".
func NewClient(id *identity.Identity, server string) (*Client, error) {
	if server == "" {
		server = id.Server
	}
	base, err := url.Parse(server)
	if err != nil || base.Scheme != "https" {
		return nil, fmt.Errorf("server %.200q is no https URL", server)
	}
	transport := &http.Transport{
		TLSClientConfig: id.TLS(), Proxy: http.ProxyFromEnvironment,
		ResponseHeaderTimeout: 30 * time.Second, TLSHandshakeTimeout: 15 * time.Second, IdleConnTimeout: 90 * time.Second,
	}
	return &Client{base: base, http: &http.Client{Transport: transport}, transport: transport}, nil
}

// Dialer makes connections.
type Dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// DialWith has connections made by dial: through a tunnel, or to a server in memory.
// It is called before the client is used.
func (c *Client) DialWith(dial Dialer) { c.transport.DialContext = dial }

// Reconnect closes idle connections, so that the next uses the newest certificate.
func (c *Client) Reconnect() { c.http.CloseIdleConnections() }

// post sends a JSON body and reads a JSON answer.
func (c *Client) post(ctx context.Context, path string, body, answer any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	resp, err := c.do(ctx, http.MethodPost, path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("the server's answer to %s: %w", path, err)
	}
	return nil
}

// get reads a small document.
func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	resp, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
}

// do sends one request; the caller closes the body of the answer.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, statusError(resp)
}

func statusError(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what there is of it helps
	e := &StatusError{Status: resp.StatusCode, Text: fmt.Sprintf("%.200q", text)}
	var p api.Problem
	if json.Unmarshal(text, &p) == nil && p.Title != "" {
		e.Text = fmt.Sprintf("%.200s %.400s", p.Title, p.Detail)
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(min(s, 3600)) * time.Second
	}
	return e
}

// pause is the wait between tries: exponential with full jitter, so that ten
// thousand agents do not return in step after an outage.
type pause struct {
	b *backoff.ExponentialBackOff
}

func newPause(max time.Duration) *pause {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 500 * time.Millisecond
	b.RandomizationFactor = 1 // 0 to twice the interval
	b.MaxInterval = max
	return &pause{b: b}
}

func (p *pause) reset() { p.b.Reset() }

// wait sleeps after a failure; Retry-After of the server is a lower bound.
func (p *pause) wait(ctx context.Context, err error) {
	d := p.b.NextBackOff()
	var status *StatusError
	if errors.As(err, &status) {
		d = max(d, status.RetryAfter)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
