// Package policy is what a server asks of its agents: which copies are moved
// aside, who may open copies, which folders are locked down. It is a signed note
// like a registry manifest (internal/snapshot), so that any cache can carry it. An
// agent never does more than its own configuration allows.
package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"weightwarden/internal/snapshot"
)

// Policy is one version.
type Policy struct {
	Version int64     `json:"version"` // from 1 on; only grows
	Name    string    `json:"name,omitempty"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"` // after it no agent takes the policy; one that holds it goes on and says so
	Rules   Rules     `json:"rules"`
}

// Rules are what is asked for.
type Rules struct {
	// Verdicts and Destinations (classes) of copies that are moved aside. No
	// verdict: none is; no destination: wherever they lie.
	Verdicts     []string `json:"quarantine_verdicts,omitempty"`
	Destinations []string `json:"quarantine_destinations,omitempty"`
	// AllowPaths are folders where copies may lie, AllowPrograms executables that
	// may open them.
	AllowPaths    []string `json:"allow_paths,omitempty"`
	AllowPrograms []string `json:"allow_programs,omitempty"`
	Block         bool     `json:"block,omitempty"`
	Lockdown      []string `json:"lockdown_paths,omitempty"`
}

const maxItems = 1000 // of one list

// Sign returns the policy as a signed note.
func Sign(p *Policy, signer note.Signer) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return snapshot.Sign(snapshot.KindPolicy, body, signer)
}

// Open verifies a signed policy. Unknown keys are refused: half a policy is worse
// than the one before. It says nothing about age: see Accept.
func Open(signed []byte, verifier note.Verifier) (*Policy, error) {
	body, err := snapshot.Open(snapshot.KindPolicy, signed, verifier)
	if err != nil {
		return nil, err
	}
	var p Policy
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("%w: %v", snapshot.ErrMalformed, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than one document", snapshot.ErrMalformed)
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return &p, nil
}

// Accept decides whether p may replace held (nil: nothing is held). It refuses
// rollback, two contents of one version, and what is past its time.
func (p *Policy) Accept(held *Policy, now time.Time) error {
	switch {
	case held != nil && p.Version < held.Version:
		return fmt.Errorf("%w: policy version %d, held %d", snapshot.ErrRollback, p.Version, held.Version)
	case held != nil && p.Version == held.Version && !same(p, held):
		return fmt.Errorf("%w: policy version %d", snapshot.ErrConflict, p.Version)
	case now.After(p.Expires):
		return fmt.Errorf("%w: policy version %d at %s", snapshot.ErrExpired, p.Version, p.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}

// same compares the rules: a version may be signed anew with a later date.
func same(a, b *Policy) bool {
	x, err := json.Marshal(a.Rules)
	y, err2 := json.Marshal(b.Rules)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}

func (p *Policy) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: policy: %s", snapshot.ErrMalformed, fmt.Sprintf(format, args...))
	}
	if p.Version < 1 || !p.Expires.After(p.Created) {
		return bad("version %d, created %s, expires %s", p.Version, p.Created.UTC().Format(time.RFC3339), p.Expires.UTC().Format(time.RFC3339))
	}
	r := &p.Rules
	for _, list := range []struct {
		name  string
		items []string
		paths bool
	}{{"quarantine_verdicts", r.Verdicts, false}, {"quarantine_destinations", r.Destinations, false}, {"allow_paths", r.AllowPaths, true},
		{"allow_programs", r.AllowPrograms, true}, {"lockdown_paths", r.Lockdown, true}} {
		if len(list.items) > maxItems {
			return bad("%s has %d items, more than %d", list.name, len(list.items), maxItems)
		}
		for _, s := range list.items {
			if s == "" || list.paths && (!strings.HasPrefix(s, "/") || path.Clean(s) != s || s == "/") {
				return bad("%s: %.200q", list.name, s)
			}
		}
	}
	return nil
}
