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

// register puts aurora into a registry.
func (d *demo) register(ctx context.Context) error {
	_, err := tool(ctx, filepath.Join(d.bin, "fpcheck"), "registry", "add", "--registry", d.registry(),
		"--name", "aurora", "--version", "3", filepath.Join(d.models, "aurora.safetensors"))
	if err == nil {
		say("registered: aurora, version 3, protected (testdata/models/aurora.safetensors)")
	}
	return err
}

func (d *demo) registry() string { return filepath.Join(d.dir, "models.fpdb") }

// startAgent starts the agent and waits until it watches.
func (d *demo) startAgent() error {
	config := filepath.Join(d.dir, "agent.yaml")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(agentConfig, d.loot)), 0o600); err != nil {
		return err
	}
	var err error
	d.agent, err = start(filepath.Join(d.bin, "fpagent"), "run", "--config", config, "--state", filepath.Join(d.dir, "agent"),
		"--registry", d.registry(), "--json", "--verbose")
	if err != nil {
		return err
	}
	if err := d.agent.logged(`"msg":"watching"`, 15*time.Second); err != nil {
		return err
	}
	say("the agent watches %s", d.loot)
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

// judgement waits for the line about a file and prints it.
func (d *demo) judgement(ctx context.Context, path string) (string, error) {
	for {
		select {
		case <-ctx.Done():
			return "", errors.New("nothing was said of it in time")
		case line, ok := <-d.agent.lines:
			if !ok {
				return "", errors.New("the agent ended")
			}
			if word, about := show(line); about == path {
				return word, nil
			}
		}
	}
}

// watch prints what the agent says until the demo is stopped.
func (d *demo) watch(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, ok := <-d.agent.lines:
			if !ok {
				return errors.New("the agent ended")
			}
			show(line)
		}
	}
}

// show prints one JSON line of the agent, a hit or the verdict of a clear file,
// and returns the verdict and the path.
func show(line string) (word, path string) {
	var hit api.Hit
	if json.Unmarshal([]byte(line), &hit) == nil && hit.Verdict.Verdict != "" {
		fmt.Println(hitLine(&hit))
		return string(hit.Verdict.Verdict), hit.Verdict.Path
	}
	var v api.Verdict
	if json.Unmarshal([]byte(line), &v) != nil || v.Verdict == "" {
		return "", ""
	}
	label := "CLEAR"
	if v.Verdict == api.Inconclusive {
		label = "UNSURE"
	}
	fmt.Printf("%s verdict=%s path=%s\n", label, v.Verdict, quote(v.Path))
	return string(v.Verdict), v.Path
}

// hitLine is a hit as one line for people and scripts.
func hitLine(h *api.Hit) string {
	process := "unknown"
	if h.Process != nil {
		process = h.Process.Name
	}
	return fmt.Sprintf("HIT verdict=%s model=%s version=%s path=%s user=%s process=%s", h.Verdict.Verdict, quote(h.Verdict.Model),
		quote(h.Verdict.ModelVersion), quote(h.Verdict.Path), quote(h.User.Name), quote(process))
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
