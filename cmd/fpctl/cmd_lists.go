package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
)

// lister prints items as JSON lines or as a table.
type lister[T any] struct {
	path   string
	header []string
	row    func(T) []string
	right  []bool
}

func (l lister[T]) run(ctx context.Context, env *cli.Env, c *client, query url.Values, limit int) error {
	t := &cli.Table{Right: l.right}
	t.Row(l.header...)
	n := 0
	err := each(ctx, c, l.path, query, limit, func(item T) error {
		n++
		if env.JSON {
			return cli.WriteJSON(env.Stdout, item)
		}
		t.Row(l.row(item)...)
		return nil
	})
	if err != nil || env.JSON {
		return err
	}
	if n == 0 {
		_, err := fmt.Fprintln(env.Stdout, "none")
		return err
	}
	t.Print(env.Stdout, cli.Style{Colour: cli.ColourFor(env, env.Stdout)})
	return nil
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

func modelListCommand() cli.Command {
	return simple("model list", "list the registered models", func(ctx context.Context, env *cli.Env, c *client) error {
		return lister[api.Model]{path: api.PathModels, header: []string{"MODEL", "KIND", "TIER", "OWNER", "VERSIONS", "REGISTERED"}, row: func(m api.Model) []string {
			return []string{m.Name, m.Kind, strconv.Itoa(m.Tier), m.Owner, strconv.Itoa(len(m.Versions)), clock(m.Created)}
		}}.run(ctx, env, c, nil, 0)
	})
}

// named is a command with exactly one operand.
func named(name, operand, summary string, run func(context.Context, *cli.Env, *client, string) error) cli.Command {
	return cli.Command{Name: name, Args: operand, Summary: summary, Flags: func(*flag.FlagSet) func(context.Context, *cli.Env, []string) error {
		return func(ctx context.Context, env *cli.Env, args []string) error {
			if len(args) != 1 {
				return cli.Usagef("one %s is wanted", operand)
			}
			c, err := connect(env)
			if err != nil {
				return err
			}
			return run(ctx, env, c, args[0])
		}
	}}
}

func modelShowCommand() cli.Command {
	return named("model show", "NAME", "show a model with its versions and artifacts", func(ctx context.Context, env *cli.Env, c *client, name string) error {
		var m api.Model
		if err := c.call(ctx, http.MethodGet, api.PathModels+"/"+url.PathEscape(name), nil, nil, &m); err != nil {
			return err
		}
		if env.JSON {
			return cli.WriteJSON(env.Stdout, m)
		}
		fmt.Fprintf(env.Stdout, "%s (%s), tier %d, owner %s\n", m.Name, m.Kind, m.Tier, cli.PrintableLine(m.Owner))
		t := &cli.Table{Right: []bool{false, false, false, true, true, true}}
		t.Row("VERSION", "ARTIFACT", "FORMAT", "BYTES", "TENSORS", "PARAMETERS")
		for _, v := range m.Versions {
			for _, a := range v.Artifacts {
				t.Row(v.Version, a.Name, a.Format, cli.Count(a.Size), cli.Count(int64(a.Tensors)), cli.Count(a.Parameters))
			}
		}
		t.Print(env.Stdout, cli.Style{Colour: cli.ColourFor(env, env.Stdout)})
		return nil
	})
}

func modelRemoveCommand() cli.Command {
	return named("model rm", "NAME", "take a model with all its versions out of the registry", func(ctx context.Context, env *cli.Env, c *client, name string) error {
		return c.call(ctx, http.MethodDelete, api.PathModels+"/"+url.PathEscape(name), nil, nil, nil)
	})
}

// words is a list with commas.
func words(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func tokenNewCommand() cli.Command {
	return cli.Command{
		Name:    "token new",
		Summary: "make an API token, or with --enrol a token with which machines enrol",
		Help:    "The token is printed once and kept by the server as a hash only.",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			name := fs.String("name", "", "`NAME` that says what the token is for")
			roles := fs.String("roles", "", roleList+" (default: reader; with --models or --owners: registrar)")
			models := fs.String("models", "", "`PATTERNS` of the models that the token may register, with commas: team-a-*; nothing else is open to it then")
			owners := fs.String("owners", "", "`OWNERS` whose models alone the token may register, with commas; nothing else is open to it then")
			from := fs.String("from", "", "`NETWORKS` that the token is good from, with commas: 10.1.0.0/16 (default: everywhere)")
			hours := fs.Int("hours", 0, "`N` hours that it is good (0: for ever; with --enrol: 24)")
			enrol := fs.Bool("enrol", false, "make an enrolment token")
			uses := fs.Int64("uses", 1, "with --enrol: `N` machines that may use it")
			labels := fs.String("labels", "", "with --enrol: `LABELS` of those machines, as KEY=VALUE with commas")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if *roles == "" {
					*roles = "reader"
					if *models+*owners != "" {
						*roles = "registrar"
					}
				}
				chosen, err := parseLabels(*labels)
				if err != nil {
					return err
				}
				c, err := connect(env)
				if err != nil {
					return err
				}
				var answer api.TokenAnswer
				if *enrol {
					err = c.call(ctx, http.MethodPost, api.PathEnrolTokens, nil, api.EnrolTokenRequest{Name: *name, Uses: *uses, Hours: *hours, Labels: chosen}, &answer)
				} else {
					req := api.TokenRequest{Name: *name, Roles: strings.Split(*roles, ","), Models: words(*models), Owners: words(*owners), Networks: words(*from)}
					if *hours > 0 {
						end := time.Now().Add(time.Duration(*hours) * time.Hour)
						req.Expires = &end
					}
					err = c.call(ctx, http.MethodPost, api.PathTokens, nil, req, &answer)
				}
				if err != nil {
					return err
				}
				if env.JSON {
					return cli.WriteJSON(env.Stdout, answer)
				}
				_, err = fmt.Fprintln(env.Stdout, answer.Token)
				return err
			}
		},
	}
}

func tokenListCommand() cli.Command {
	return simple("token list", "list API tokens and enrolment tokens", func(ctx context.Context, env *cli.Env, c *client) error {
		for _, path := range []string{api.PathTokens, api.PathEnrolTokens} {
			err := lister[api.TokenInfo]{path: path, header: []string{"ID", "NAME", "ROLES OR USES LEFT", "CREATED", "STATE"}, row: func(t api.TokenInfo) []string {
				what, state := strings.Join(t.Roles, ","), "good"
				if t.UsesLeft != nil {
					what = fmt.Sprintf("enrols %d more", *t.UsesLeft)
				}
				switch {
				case t.Revoked != nil:
					state = "revoked"
				case t.Expires != nil && t.Expires.Before(time.Now()):
					state = "expired"
				}
				return []string{t.ID, t.Name, what, clock(t.Created), state}
			}}.run(ctx, env, c, nil, 0)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func tokenRevokeCommand() cli.Command {
	return cli.Command{Name: "token revoke", Args: "ID", Summary: "end a token at once", Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
		enrol := fs.Bool("enrol", false, "it is an enrolment token")
		return func(ctx context.Context, env *cli.Env, args []string) error {
			if len(args) != 1 {
				return cli.Usagef("one ID is wanted; 'fpctl token list' shows them")
			}
			c, err := connect(env)
			if err != nil {
				return err
			}
			path := api.PathTokens
			if *enrol {
				path = api.PathEnrolTokens
			}
			return c.call(ctx, http.MethodDelete, path+"/"+url.PathEscape(args[0]), nil, nil, nil)
		}
	}}
}

func agentsCommand() cli.Command {
	return simple("agents", "list the enrolled machines", func(ctx context.Context, env *cli.Env, c *client) error {
		return lister[api.AgentInfo]{path: api.PathAgents, header: []string{"ID", "HOST", "STATE", "HEARD", "SNAPSHOT", "POLICY", "WAITING", "LOST", "GAPS"},
			right: []bool{false, false, false, false, true, false, true, true, true}, row: func(a api.AgentInfo) []string {
				return []string{a.ID, a.Host, a.State, clock(a.Seen), strconv.FormatInt(a.Snapshot, 10), policyState(a), strconv.FormatInt(a.Pending, 10),
					strconv.FormatInt(a.Lost, 10), strconv.FormatInt(a.Gaps, 10)}
			}}.run(ctx, env, c, nil, 0)
	})
}

// policyState says whether an agent has the policy that is meant for it.
func policyState(a api.AgentInfo) string {
	switch {
	case a.PolicyName == "" && a.Policy == 0:
		return "none"
	case a.Policy < a.PolicyNewest:
		return a.PolicyName + " (on its way)"
	}
	return a.PolicyName
}

func agentRevokeCommand() cli.Command {
	return named("agent revoke", "ID", "end an agent's access with its next request", func(ctx context.Context, env *cli.Env, c *client, id string) error {
		return c.call(ctx, http.MethodPut, api.PathAgents+"/"+url.PathEscape(id)+"/state", nil, api.AgentState{State: "revoked", Reason: "fpctl agent revoke"}, nil)
	})
}

// listCommand is a list with filters that go into the query as they are.
func listCommand[T any](name, summary string, filters map[string]string, l lister[T]) cli.Command {
	return cli.Command{Name: name, Summary: summary, Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
		limit := fs.Int("limit", 100, "`N` newest items (0: all)")
		values := map[string]*string{}
		for f, usage := range filters {
			values[f] = fs.String(f, "", usage)
		}
		return func(ctx context.Context, env *cli.Env, args []string) error {
			c, err := connect(env)
			if err != nil {
				return err
			}
			query := url.Values{}
			for f, v := range values {
				if *v != "" {
					query.Set(f, *v)
				}
			}
			return l.run(ctx, env, c, query, *limit)
		}
	}}
}

func hitsCommand() cli.Command {
	filters := map[string]string{"model": "only of this `MODEL`", "host": "only on this `HOST`", "user": "only of this `USER`", "verdict": "only this `VERDICT`",
		"destination": "only to this `CLASS` of destination", "q": "`TEXT` in path, process, host, user, model, or a digest",
		"since": "observed from this `TIME` on (2026-01-31T15:04:05Z)", "until": "observed before this `TIME`"}
	return listCommand("hits", "list hits, newest first", filters, lister[api.HitInfo]{path: api.PathHitList,
		header: []string{"TIME", "VERDICT", "MODEL", "VERSION", "HOST", "USER", "TO", "FOUND", "PATH"}, right: []bool{false, false, false, false, false, false, false, true, false},
		row: func(h api.HitInfo) []string {
			return []string{clock(h.Observed), string(h.Verdict), h.Model, h.Version, h.Host, h.User, h.DestClass, fmt.Sprintf("%.1f %%", h.Coverage*100), h.Path}
		}})
}

func alertsCommand() cli.Command {
	filters := map[string]string{"state": "`STATE`: active, open, acknowledged, closed", "model": "only of this `MODEL`", "host": "only on this `HOST`",
		"user": "only of this `USER`", "q": "`TEXT` in path, host, user or model"}
	severities := []string{"?", "critical", "high", "medium", "low"}
	return listCommand("alerts", "list alerts, newest first", filters, lister[api.AlertInfo]{path: api.PathAlerts,
		header: []string{"ID", "SEVERITY", "STATE", "MODEL", "VERDICT", "HOST", "USER", "TO", "HITS", "LAST SEEN"}, row: func(a api.AlertInfo) []string {
			return []string{a.ID, severities[min(max(a.Severity, 0), 4)], a.State, a.Model + " " + a.Version, string(a.Verdict), a.Host, a.User, a.DestClass,
				strconv.FormatInt(a.Hits, 10), clock(a.LastSeen)}
		}})
}

func snapshotListCommand() cli.Command {
	return simple("snapshot list", "list the newest epochs of the registry", func(ctx context.Context, env *cli.Env, c *client) error {
		return lister[api.SnapshotInfo]{path: api.PathSnapshots, header: []string{"EPOCH", "CREATED", "EXPIRES", "ARTIFACTS", "BYTES", "REASON"},
			right: []bool{true, false, false, true, true, false}, row: func(s api.SnapshotInfo) []string {
				return []string{strconv.FormatInt(s.Epoch, 10), clock(s.Created), clock(s.Expires), cli.Count(s.Entries), cli.Count(s.Bytes), s.Reason}
			}}.run(ctx, env, c, nil, 0)
	})
}

func snapshotCommand() cli.Command {
	return cli.Command{
		Name:    "snapshot",
		Summary: "fetch the newest registry, checked against its signed manifest, for fpcheck",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			out := fs.String("o", "registry.fpdb", "`FILE` to write")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) > 0 {
					return cli.Usagef("no operand is wanted")
				}
				c, err := connect(env)
				if err != nil {
					return err
				}
				m, err := fetchSnapshot(ctx, c, *out)
				if err != nil {
					return err
				}
				info, err := os.Stat(*out)
				if err != nil {
					return err
				}
				if env.JSON {
					return cli.WriteJSON(env.Stdout, m)
				}
				_, err = fmt.Fprintf(env.Stdout, "snapshot %d: %s, %s -> %s\n", m.Epoch, cli.Plural(int(m.Entries), "artifact", "artifacts"), cli.Bytes(info.Size()), *out)
				return err
			}
		},
	}
}
