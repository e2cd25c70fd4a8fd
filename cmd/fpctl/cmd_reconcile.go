package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
)

func reconcileCommand() cli.Command {
	return cli.Command{
		Name:    "reconcile",
		Summary: "compare the registry with the copies that agents saw",
		Help: `unregistered  a copy of a model or version that the registry does not have any more
misplaced     a copy that no authorisation in force covers
missing       an allowed copy not seen for --days, an authorisation or a version without any copy

exit codes: 0 they agree, 1 they differ, 2 error`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			kind := fs.String("kind", "", "only `KIND`: unregistered, misplaced or missing")
			model := fs.String("model", "", "only of this `MODEL`")
			days := fs.Int("days", 30, "`N` days after which what was not seen is missing")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) > 0 {
					return cli.Usagef("no operand is wanted")
				}
				c, err := connect(env)
				if err != nil {
					return err
				}
				query := url.Values{"days": {strconv.Itoa(*days)}, "limit": {"1000"}}
				for name, v := range map[string]string{"kind": *kind, "model": *model} {
					if v != "" {
						query.Set(name, v)
					}
				}
				return reconcile(ctx, env, c, query)
			}
		},
	}
}

func reconcile(ctx context.Context, env *cli.Env, c *client, query url.Values) error {
	t := &cli.Table{}
	t.Row("DIFFERENCE", "MODEL", "HOST", "LAST SEEN", "WHY", "PATH")
	counts := map[string]int{}
	err := each(ctx, c, api.PathReconcile, query, 0, func(d api.Difference) error {
		counts[d.Kind]++
		env.Exit = cli.ExitMatch
		if env.JSON {
			return cli.WriteJSON(env.Stdout, d)
		}
		t.Row(differenceRow(d)...)
		return nil
	})
	if err != nil || env.JSON {
		return err
	}
	if len(counts) == 0 {
		_, err := fmt.Fprintln(env.Stdout, "registry, authorisations and copies agree")
		return err
	}
	t.Print(env.Stdout, cli.Style{Colour: cli.ColourFor(env, env.Stdout)})
	_, err = fmt.Fprintf(env.Stdout, "%d unregistered, %d misplaced, %d missing\n", counts["unregistered"], counts["misplaced"], counts["missing"])
	return err
}

func differenceRow(d api.Difference) []string {
	seen := "never"
	if d.LastSeen != nil {
		seen = d.LastSeen.UTC().Format(time.DateOnly)
	}
	if d.Unobserved {
		seen += " (no agent there now)"
	}
	return []string{d.Kind, strings.TrimSpace(d.Model + " " + d.Version), d.Host, seen, d.Text, d.Path}
}
