package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
)

func holdAddCommand() cli.Command {
	return cli.Command{Name: "hold add", Args: "KIND REF", Summary: "keep records from being purged: of a hit, alert, model, agent, user or case",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			reason := fs.String("reason", "", "`TEXT` that says why; needed")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) != 2 || *reason == "" {
					return cli.Usagef("a KIND, what it names, and --reason are wanted")
				}
				c, err := connect(env)
				if err != nil {
					return err
				}
				var h api.Hold
				if err := c.call(ctx, http.MethodPost, api.PathHolds, nil, api.Hold{Kind: args[0], Ref: args[1], Reason: *reason}, &h); err != nil {
					return err
				}
				if env.JSON {
					return cli.WriteJSON(env.Stdout, h)
				}
				_, err = fmt.Fprintf(env.Stdout, "hold %s is in force; somebody else can lift it\n", h.ID)
				return err
			}
		}}
}

func holdListCommand() cli.Command {
	return simple("hold list", "list legal holds", func(ctx context.Context, env *cli.Env, c *client) error {
		return lister[api.Hold]{path: api.PathHolds, header: []string{"ID", "KIND", "OF", "SINCE", "BY", "STATE", "REASON"}, row: func(h api.Hold) []string {
			state, since := "in force", ""
			if h.Lifted != nil {
				state = "lifted by " + h.LiftedBy
			}
			if h.Created != nil {
				since = clock(*h.Created)
			}
			return []string{h.ID, h.Kind, h.Ref, since, h.CreatedBy, state, h.Reason}
		}}.run(ctx, env, c, nil, 0)
	})
}

func holdLiftCommand() cli.Command {
	return named("hold lift", "ID", "lift a hold that somebody else put in force", func(ctx context.Context, env *cli.Env, c *client, id string) error {
		return c.call(ctx, http.MethodDelete, api.PathHolds+"/"+url.PathEscape(id), nil, nil, nil)
	})
}

func retentionCommand() cli.Command {
	return cli.Command{Name: "retention", Summary: "show or set for how many days records are kept (0: for ever)",
		Help: "Only flags that are given change something. What is held, open or in a case stays, and so does the audit log.",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			var given api.Retention
			fs.IntVar(&given.Hits, "hits", -1, "`DAYS` that hits are kept")
			fs.IntVar(&given.Alerts, "alerts", -1, "`DAYS` after alerts were closed")
			fs.IntVar(&given.Copies, "copies", -1, "`DAYS` after copies were last seen")
			fs.IntVar(&given.Deliveries, "deliveries", -1, "`DAYS` after messages were delivered")
			fs.IntVar(&given.Sweeps, "sweeps", -1, "`DAYS` after the end of sweeps")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) > 0 {
					return cli.Usagef("no operand is wanted")
				}
				c, err := connect(env)
				if err != nil {
					return err
				}
				return retention(ctx, env, c, given)
			}
		}}
}

func retention(ctx context.Context, env *cli.Env, c *client, given api.Retention) error {
	var now api.Retention
	if err := c.call(ctx, http.MethodGet, api.PathRetention, nil, nil, &now); err != nil {
		return err
	}
	before := now
	for _, f := range []struct{ to, from *int }{{&now.Hits, &given.Hits}, {&now.Alerts, &given.Alerts}, {&now.Copies, &given.Copies},
		{&now.Deliveries, &given.Deliveries}, {&now.Sweeps, &given.Sweeps}} {
		if *f.from >= 0 {
			*f.to = *f.from
		}
	}
	if now != before {
		if err := c.call(ctx, http.MethodPut, api.PathRetention, nil, now, &now); err != nil {
			return err
		}
	}
	if env.JSON {
		return cli.WriteJSON(env.Stdout, now)
	}
	t := &cli.Table{Right: []bool{false, true}}
	t.Row("RECORDS", "DAYS")
	for _, l := range []struct {
		name string
		days int
	}{{"hits", now.Hits}, {"alerts", now.Alerts}, {"copies", now.Copies}, {"deliveries", now.Deliveries}, {"sweeps", now.Sweeps}} {
		days := fmt.Sprint(l.days)
		if l.days == 0 {
			days = "for ever"
		}
		t.Row(l.name, days)
	}
	t.Print(env.Stdout, cli.Style{Colour: cli.ColourFor(env, env.Stdout)})
	return nil
}
