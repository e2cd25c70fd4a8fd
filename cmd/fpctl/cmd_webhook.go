package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
)

func webhookAddCommand() cli.Command {
	return cli.Command{
		Name:    "webhook add",
		Args:    "PROVIDER",
		Summary: "let MLflow or the Hugging Face Hub tell of new versions: PROVIDER is mlflow or huggingface",
		Help: `The address and the secret that are printed belong into the provider's webhook; the secret is shown
this once. What is told waits (fpctl model pending) until fpctl model add registers it.`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			name := fs.String("name", "", "`NAME` that says which registry it is")
			file := fs.String("secret-file", "", "`FILE` with the secret (default: the server makes one)")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) != 1 || *name == "" {
					return cli.Usagef("a provider and --name are wanted")
				}
				req := api.WebhookSource{Name: *name, Provider: args[0]}
				if *file != "" {
					b, err := os.ReadFile(*file)
					if err != nil {
						return err
					}
					req.Secret = strings.TrimSpace(string(b))
				}
				c, err := connect(env)
				if err != nil {
					return err
				}
				var src api.WebhookSource
				if err := c.call(ctx, http.MethodPost, api.PathWebhookSources, nil, req, &src); err != nil {
					return err
				}
				if env.JSON {
					return cli.WriteJSON(env.Stdout, src)
				}
				_, err = fmt.Fprintf(env.Stdout, "source %s\naddress %s\nsecret %s\n", src.ID, c.base.JoinPath(src.Path), src.Secret)
				return err
			}
		},
	}
}

func webhookListCommand() cli.Command {
	return simple("webhook list", "list the registries that may tell of new versions", func(ctx context.Context, env *cli.Env, c *client) error {
		return lister[api.WebhookSource]{path: api.PathWebhookSources, header: []string{"ID", "NAME", "PROVIDER", "LAST HEARD", "PATH"}, row: func(x api.WebhookSource) []string {
			heard := "never"
			if x.LastUsed != nil {
				heard = clock(*x.LastUsed)
			}
			return []string{x.ID, x.Name, x.Provider, heard, x.Path}
		}}.run(ctx, env, c, nil, 0)
	})
}

func webhookRemoveCommand() cli.Command {
	return named("webhook rm", "ID", "take nothing from a source any more", func(ctx context.Context, env *cli.Env, c *client, id string) error {
		return c.call(ctx, http.MethodDelete, api.PathWebhookSources+"/"+url.PathEscape(id), nil, nil, nil)
	})
}

func modelPendingCommand() cli.Command {
	return listCommand("model pending", "list versions that webhooks announced and nobody registered, oldest first",
		map[string]string{"model": "only of this `MODEL`", "state": "`STATE`: open (default) or all"},
		lister[api.Announcement]{path: api.PathAnnouncements, header: []string{"ID", "MODEL", "VERSION", "ANNOUNCED", "BY", "ORIGIN", "STATE"}, row: func(a api.Announcement) []string {
			state := "waits"
			switch {
			case a.Closed != nil && a.Note != "":
				state = "dismissed: " + a.Note
			case a.Closed != nil:
				state = "registered"
			}
			return []string{a.ID, a.Model, a.Version, clock(a.Announced), a.By, a.Origin, state}
		}})
}

func modelDismissCommand() cli.Command {
	return cli.Command{Name: "model dismiss", Args: "ID", Summary: "say that an announced version need not be registered",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			reason := fs.String("reason", "", "`TEXT` that says why; needed")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) != 1 || *reason == "" {
					return cli.Usagef("one ID and --reason are wanted; 'fpctl model pending' shows the IDs")
				}
				c, err := connect(env)
				if err != nil {
					return err
				}
				return c.call(ctx, http.MethodPost, api.PathAnnouncements+"/"+url.PathEscape(args[0])+"/dismiss", nil, api.Dismissal{Reason: *reason}, nil)
			}
		}}
}
