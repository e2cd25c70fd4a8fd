package uplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"

	"weightwarden/internal/api"
	"weightwarden/internal/durable"
	"weightwarden/internal/policy"
)

// Policies keeps the newest policy that verified, as the note it came in.
type Policies struct {
	client   *Client
	path     string
	verifier note.Verifier
	etag     string
}

// NewPolicies keeps the policy in dir. key is the note verifier key of enrolment,
// the one that signs snapshots too.
func NewPolicies(c *Client, dir, key string) (*Policies, error) {
	v, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("policy key: %w", err)
	}
	return &Policies{client: c, path: filepath.Join(dir, "policy.note"), verifier: v}, nil
}

// Current returns the policy in force, nil where there is none. It is verified
// anew: who can write to the disk cannot give orders.
func (s *Policies) Current() (*policy.Policy, error) {
	f, err := os.Open(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxAnswer))
	if err != nil {
		return nil, err
	}
	p, err := policy.Open(b, s.verifier)
	if err != nil {
		return nil, fmt.Errorf("the policy on disk: %w", err)
	}
	return p, nil
}

// Fetch asks for the newest policy and keeps it where it may. Whatever is refused
// leaves the last good one in force.
func (s *Policies) Fetch(ctx context.Context) (changed bool, err error) {
	text, etag, err := s.client.getChanged(ctx, api.PathPolicy, s.etag)
	var status *StatusError
	if errors.As(err, &status) && (status.Status == http.StatusNotFound || status.Status == http.StatusNotModified) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	next, err := policy.Open(text, s.verifier)
	if err != nil {
		return false, fmt.Errorf("policy refused, the last good one stays: %w", err)
	}
	held, err := s.Current()
	if err != nil {
		held = nil // damaged: what is signed and not expired is better than nothing
	}
	if err := next.Accept(held, time.Now()); err != nil {
		return false, fmt.Errorf("policy refused, the last good one stays: %w", err)
	}
	if err := durable.WriteFile(s.path, text, 0o600); err != nil {
		return false, err
	}
	s.etag = etag
	return held == nil || next.Version != held.Version, nil
}

// getChanged reads a small document if it is another than the one of etag; else
// the error has status 304.
func (c *Client) getChanged(ctx context.Context, path, etag string) (text []byte, now string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath(path).String(), nil)
	if err != nil {
		return nil, "", err
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", statusError(resp)
	}
	text, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return text, resp.Header.Get("ETag"), err
}
