//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"weightwarden/internal/api"
)

// agentConfig looks at small files as well, since the demo's models are small.
const agentConfig = `watch:
  paths: [%q]
files:
  min_size: 64KiB
settle:
  quiet: 300ms
`

func (d *demo) ca() string { return filepath.Join(d.dir, "server", "ca.pem") }

// startServer starts the server on a free port and learns its address and token.
func (d *demo) startServer(context.Context) error {
	var err error
	d.server, err = start(filepath.Join(d.bin, "fpserver"), "serve", "--data", filepath.Join(d.dir, "server"), "--listen", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.token = filepath.Join(d.dir, "server", "admin-token")
	if d.url, err = d.server.said("listening on ", 20*time.Second); err != nil {
		return err
	}
	go func() { // what it says further on is of no interest
		for range d.server.lines {
		}
	}()
	secret, err := os.ReadFile(d.token)
	if err != nil {
		return err
	}
	d.env = []string{"WEIGHTWARDEN_SERVER=" + d.url, "WEIGHTWARDEN_CA=" + d.ca(), "WEIGHTWARDEN_TOKEN=" + strings.TrimSpace(string(secret))}
	say("the server listens on %s", d.url)
	return nil
}

// register puts aurora into the server's registry: its fingerprint, not its weights.
func (d *demo) register(ctx context.Context) error {
	_, err := d.tool(ctx, "", "fpctl", "model", "add", "--name", "aurora", "--version", "3", filepath.Join(d.models, "aurora.safetensors"))
	if err == nil {
		say("registered: aurora, version 3, protected (testdata/models/aurora.safetensors)")
	}
	return err
}

// enrol makes this machine an agent of the server.
func (d *demo) enrol(ctx context.Context) error {
	out, err := d.tool(ctx, "", "fpctl", "token", "new", "--enrol", "--name", "demo", "--json")
	if err != nil {
		return err
	}
	var t struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal([]byte(out), &t); err != nil || t.Token == "" {
		return fmt.Errorf("no token in %q: %w", out, err)
	}
	config := fmt.Sprintf(agentConfig, d.loot)
	if err := os.WriteFile(d.config(), []byte(config), 0o600); err != nil {
		return err
	}
	_, err = d.tool(ctx, t.Token+"\n", "fpagent", "enroll", "--config", d.config(), "--state", d.state(), "--server", d.url, "--token", "-")
	return err
}

func (d *demo) config() string { return filepath.Join(d.dir, "agent.yaml") }
func (d *demo) state() string  { return filepath.Join(d.dir, "agent") }

// startAgent starts the agent and waits until it watches and has the registry.
func (d *demo) startAgent(context.Context) error {
	var err error
	d.agent, err = start(filepath.Join(d.bin, "fpagent"), "run", "--config", d.config(), "--state", d.state(), "--json", "--verbose")
	if err != nil {
		return err
	}
	for _, sign := range []string{`"msg":"watching"`, `"msg":"registry in force"`} {
		if err := d.agent.logged(sign, 20*time.Second); err != nil {
			return err
		}
	}
	say("the agent is enrolled, holds the registry and watches %s", d.loot)
	return nil
}

// steal lets every copy appear and waits for what the agent says of it.
func (d *demo) steal(ctx context.Context) error {
	var missed []error
	caught := 0
	for _, t := range thefts() {
		say("%s: %s", t.name, t.story)
		if err := d.commit(ctx, t); err != nil {
			return err
		}
		got, err := d.judgement(ctx, filepath.Join(d.loot, t.name))
		switch {
		case err != nil:
			missed = append(missed, fmt.Errorf("%s: %w", t.name, err))
		case !slices.Contains(t.want, got):
			missed = append(missed, fmt.Errorf("%s: %s, expected %s", t.name, got, strings.Join(t.want, " or ")))
		case got != innocent:
			caught++
		}
	}
	if len(missed) > 0 {
		return fmt.Errorf("not as expected: %w\n%s", errors.Join(missed...), d.agent.stderr())
	}
	say("%d of %d copies caught, the independent model left alone", caught, len(thefts())-1)
	return nil
}

// judgement waits until the server has a hit for the file, or the agent cleared
// it, prints the line and returns the verdict.
func (d *demo) judgement(ctx context.Context, path string) (string, error) {
	every := time.NewTicker(250 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", errors.New("nothing was said of it in time")
		case line, ok := <-d.agent.lines:
			if !ok {
				return "", errors.New("the agent ended")
			}
			if v := cleared(line); v != nil && v.Path == path {
				fmt.Println(clearLine(v))
				return string(v.Verdict), nil
			}
		case <-every.C:
			hits, err := d.hits(ctx)
			if err != nil {
				return "", err
			}
			for _, h := range hits {
				if h.Path == path {
					fmt.Println(h.line())
					return h.Verdict, nil
				}
			}
		}
	}
}

// watch prints new hits of the server until the demo is stopped.
func (d *demo) watch(ctx context.Context) error {
	seen := map[string]bool{}
	for first := true; ; first = false {
		hits, err := d.hits(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for _, h := range slices.Backward(hits) { // newest first
			if !first && !seen[h.ID] {
				fmt.Println(h.line())
			}
			seen[h.ID] = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.agent.lines:
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// stored is a hit as the server has it.
type stored struct {
	ID           string `json:"id"`
	Verdict      string `json:"verdict"`
	Model        string `json:"model"`
	ModelVersion string `json:"model_version"`
	Path         string `json:"path"`
	User         string `json:"user"`
	Process      string `json:"process"`
}

// hits asks the server for what it stored.
func (d *demo) hits(ctx context.Context) ([]stored, error) {
	out, err := d.tool(ctx, "", "fpctl", "hits", "--json")
	if err != nil {
		return nil, err
	}
	var all []stored
	for line := range strings.Lines(out) {
		var h stored
		if err := json.Unmarshal([]byte(line), &h); err != nil {
			return nil, fmt.Errorf("fpctl hits: %w in %q", err, line)
		}
		all = append(all, h)
	}
	return all, nil
}

// line is a hit as one line for people and scripts.
func (h *stored) line() string {
	process := "unknown"
	if h.Process != "" {
		process = filepath.Base(h.Process)
	}
	return fmt.Sprintf("HIT verdict=%s model=%s version=%s path=%s user=%s process=%s", quote(h.Verdict), quote(h.Model),
		quote(h.ModelVersion), quote(h.Path), quote(h.User), quote(process))
}

// cleared reads a JSON line of the agent about a file that is no hit; nil for any
// other line.
func cleared(line string) *api.Verdict {
	var v api.Verdict
	if json.Unmarshal([]byte(line), &v) != nil || v.Verdict == "" || v.Verdict.IsHit() {
		return nil
	}
	return &v
}

func clearLine(v *api.Verdict) string {
	label := "CLEAR"
	if v.Verdict == api.Inconclusive {
		label = "UNSURE"
	}
	return fmt.Sprintf("%s verdict=%s path=%s", label, v.Verdict, quote(v.Path))
}

// quote leaves plain words alone and quotes everything else, so that one line is
// one hit whatever a file is called.
func quote(s string) string {
	plain := strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:+@%,~", r))
	}) < 0
	if plain && s != "" {
		return s
	}
	return strconv.QuoteToASCII(s)
}
