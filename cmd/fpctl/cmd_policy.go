package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/internal/policy"
)

// parseLabels reads "key=value,key=value".
func parseLabels(text string) (map[string]string, error) {
	labels := map[string]string{}
	if text == "" {
		return labels, nil
	}
	for _, part := range strings.Split(text, ",") {
		k, v, ok := strings.Cut(part, "=")
		if !ok || k == "" {
			return nil, cli.Usagef("label %q: want KEY=VALUE", part)
		}
		labels[k] = v
	}
	return labels, nil
}

func labelText(labels map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, k+"="+labels[k])
	}
	return strings.Join(parts, ",")
}

func policySetCommand() cli.Command {
	return cli.Command{
		Name:    "policy set",
		Args:    "NAME RULES.json",
		Summary: "make a new version of a policy ('-' reads the rules from standard input)",
		Help: `RULES.json is an object with any of quarantine_verdicts, quarantine_destinations, allow_paths,
allow_programs, block, lockdown_paths. It counts for agents that have all labels of --selector; of several
policies the one with the highest priority counts. An agent never does more than its own configuration
allows.`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			selector := fs.String("selector", "", "`LABELS` that an agent must have, as KEY=VALUE with commas (default: every agent)")
			priority := fs.Int64("priority", 0, "`N`, -1000 to 1000")
			note := fs.String("note", "", "`TEXT` that says why")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) != 2 {
					return cli.Usagef("a NAME and a file of rules are wanted")
				}
				req := api.PolicyRequest{Priority: *priority, Note: *note}
				var err error
				if req.Selector, err = parseLabels(*selector); err != nil {
					return err
				}
				if req.Rules, err = readRules(env, args[1]); err != nil {
					return err
				}
				c, err := connect(env)
				if err != nil {
					return err
				}
				var info api.PolicyInfo
				if err := c.call(ctx, http.MethodPut, api.PathPolicies+"/"+url.PathEscape(args[0]), nil, req, &info); err != nil {
					return err
				}
				return printPolicy(env, info)
			}
		},
	}
}

func readRules(env *cli.Env, path string) (rules policy.Rules, err error) {
	var text []byte
	if path == "-" {
		text, err = io.ReadAll(io.LimitReader(env.Stdin, 1<<20))
	} else {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return rules, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&rules); err != nil {
		return rules, fmt.Errorf("rules in %q: %w", path, err)
	}
	return rules, nil
}

func printPolicy(env *cli.Env, info api.PolicyInfo) error {
	if env.JSON {
		return cli.WriteJSON(env.Stdout, info)
	}
	_, err := fmt.Fprintf(env.Stdout, "policy %s is at version %d; agents take it when they next ask\n", cli.PrintableLine(info.Name), info.Version)
	return err
}

func policyListCommand() cli.Command {
	return simple("policy list", "list the policies in force", func(ctx context.Context, env *cli.Env, c *client) error {
		return policyLister().run(ctx, env, c, nil, 0)
	})
}

func policyLister() lister[api.PolicyInfo] {
	return lister[api.PolicyInfo]{path: api.PathPolicies, header: []string{"POLICY", "VERSION", "PRIORITY", "AGENTS WITH", "MADE", "BY", "NOTE"},
		right: []bool{false, true, true}, row: func(p api.PolicyInfo) []string {
			selector := labelText(p.Selector)
			if selector == "" {
				selector = "(every agent)"
			}
			if p.Deleted {
				selector = "(deleted)"
			}
			return []string{p.Name, fmt.Sprint(p.Version), fmt.Sprint(p.Priority), selector, clock(p.Created), p.CreatedBy, p.Note}
		}}
}

func policyShowCommand() cli.Command {
	return named("policy show", "NAME", "show a policy with all its versions", func(ctx context.Context, env *cli.Env, c *client, name string) error {
		var h api.PolicyHistory
		if err := c.call(ctx, http.MethodGet, api.PathPolicies+"/"+url.PathEscape(name), nil, nil, &h); err != nil {
			return err
		}
		if env.JSON {
			for _, v := range h.Versions {
				if err := cli.WriteJSON(env.Stdout, v); err != nil {
					return err
				}
			}
			return nil
		}
		l := policyLister()
		t := &cli.Table{Right: l.right}
		t.Row(l.header...)
		for _, v := range h.Versions {
			t.Row(l.row(v)...)
		}
		t.Print(env.Stdout, cli.Style{Colour: cli.ColourFor(env, env.Stdout)})
		rules, err := json.MarshalIndent(h.Versions[0].Rules, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.Stdout, "rules of version %d:\n%s\n", h.Versions[0].Version, cli.Printable(string(rules)))
		return err
	})
}

func policyRollbackCommand() cli.Command {
	return cli.Command{Name: "policy rollback", Args: "NAME", Summary: "make the content of an older version the newest version",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			to := fs.Int64("to", 0, "`VERSION` to go back to; 'fpctl policy show' lists them")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) != 1 || *to < 1 {
					return cli.Usagef("one NAME and --to VERSION are wanted")
				}
				c, err := connect(env)
				if err != nil {
					return err
				}
				var info api.PolicyInfo
				if err := c.call(ctx, http.MethodPost, api.PathPolicies+"/"+url.PathEscape(args[0])+"/rollback", nil, api.PolicyRollback{Version: *to}, &info); err != nil {
					return err
				}
				return printPolicy(env, info)
			}
		}}
}

func policyRemoveCommand() cli.Command {
	return named("policy rm", "NAME", "take a policy out of force", func(ctx context.Context, env *cli.Env, c *client, name string) error {
		return c.call(ctx, http.MethodDelete, api.PathPolicies+"/"+url.PathEscape(name), nil, nil, nil)
	})
}

func agentLabelCommand() cli.Command {
	return cli.Command{Name: "agent label", Args: "ID [KEY=VALUE ...]", Summary: "replace an agent's labels, which choose its policy",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			reason := fs.String("reason", "", "`TEXT` for the audit log")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) == 0 {
					return cli.Usagef("the ID of an agent is wanted; 'fpctl agents' lists them")
				}
				labels, err := parseLabels(strings.Join(args[1:], ","))
				if err != nil {
					return err
				}
				c, err := connect(env)
				if err != nil {
					return err
				}
				return c.call(ctx, http.MethodPut, api.PathAgents+"/"+url.PathEscape(args[0])+"/labels", nil, api.AgentLabels{Labels: labels, Reason: *reason}, nil)
			}
		}}
}
