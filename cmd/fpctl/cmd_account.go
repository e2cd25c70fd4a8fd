package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
)

const roleList = "`ROLES` with commas: admin, analyst, reader, registrar, auditor, approver, signal"

func accountAddCommand() cli.Command {
	return cli.Command{Name: "account add", Args: "NAME", Summary: "make an account with which a person signs in to the console",
		Help: "Prints a password for the first sign-in, once; the person then chooses another one.",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			roles := fs.String("roles", "reader", roleList)
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) != 1 {
					return cli.Usagef("one NAME is wanted")
				}
				c, err := connect(env)
				if err != nil {
					return err
				}
				var answer api.AccountAnswer
				if err := c.call(ctx, http.MethodPost, api.PathAccounts, nil, api.AccountRequest{Name: args[0], Roles: strings.Split(*roles, ",")}, &answer); err != nil {
					return err
				}
				return printPassword(env, answer)
			}
		}}
}

func printPassword(env *cli.Env, answer api.AccountAnswer) error {
	if env.JSON {
		return cli.WriteJSON(env.Stdout, answer)
	}
	_, err := fmt.Fprintln(env.Stdout, answer.Password)
	return err
}

func accountListCommand() cli.Command {
	return simple("account list", "list the accounts of people", func(ctx context.Context, env *cli.Env, c *client) error {
		return lister[api.AccountInfo]{path: api.PathAccounts, header: []string{"NAME", "ROLES", "STATE", "LAST SIGN-IN", "WRONG PASSWORDS"},
			right: []bool{false, false, false, false, true}, row: func(a api.AccountInfo) []string {
				state, last := a.State, "never"
				if a.Temporary && state == "active" {
					state = "first password"
				}
				if a.LastUsed != nil {
					last = clock(*a.LastUsed)
				}
				return []string{a.Name, strings.Join(a.Roles, ","), state, last, fmt.Sprint(a.Failures)}
			}}.run(ctx, env, c, nil, 0)
	})
}

func accountRolesCommand() cli.Command {
	return cli.Command{Name: "account roles", Args: "NAME ROLES", Summary: "give an account other roles; its sessions end",
		Flags: func(*flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) != 2 {
					return cli.Usagef("a NAME and ROLES with commas are wanted")
				}
				c, err := connect(env)
				if err != nil {
					return err
				}
				return onAccount(ctx, c, args[0], func(path string) error {
					return c.call(ctx, http.MethodPut, path+"/roles", nil, api.AccountRoles{Roles: strings.Split(args[1], ",")}, nil)
				})
			}
		}}
}

func accountStateCommand(verb, state, summary string) cli.Command {
	return named("account "+verb, "NAME", summary, func(ctx context.Context, env *cli.Env, c *client, name string) error {
		return onAccount(ctx, c, name, func(path string) error {
			return c.call(ctx, http.MethodPut, path+"/state", nil, api.AccountState{State: state}, nil)
		})
	})
}

func accountResetCommand() cli.Command {
	return named("account reset", "NAME", "print a new password for one sign-in; the account's sessions end", func(ctx context.Context, env *cli.Env, c *client, name string) error {
		return onAccount(ctx, c, name, func(path string) error {
			var answer api.AccountAnswer
			if err := c.call(ctx, http.MethodPost, path+"/password", nil, nil, &answer); err != nil {
				return err
			}
			return printPassword(env, answer)
		})
	})
}

// onAccount calls do with the path of the account that has a name or an id.
func onAccount(ctx context.Context, c *client, name string, do func(path string) error) error {
	id := ""
	err := each(ctx, c, api.PathAccounts, nil, 0, func(a api.AccountInfo) error {
		if strings.EqualFold(a.Name, name) || a.ID == name {
			id = a.ID
		}
		return nil
	})
	if err != nil {
		return err
	}
	if id == "" {
		return cli.Hint(fmt.Errorf("there is no account %q", name), "'fpctl account list' shows them")
	}
	return do(api.PathAccounts + "/" + url.PathEscape(id))
}
