package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"weightwarden/agent/enforce"
	"weightwarden/internal/cli"
)

// quarantineCommands work on the disk alone: a way back must not need the agent.
func quarantineCommands() []cli.Command {
	return []cli.Command{
		{Name: "quarantine list", Summary: "list the files that were moved aside on this machine",
			Flags: quarantineCommand(0, false, func(env *cli.Env, q *enforce.Quarantine, _ []string, _ string) error { return listQuarantine(env, q) })},
		{Name: "quarantine show", Args: "ID", Summary: "print the evidence record of a file that was moved aside",
			Flags: quarantineCommand(1, false, func(env *cli.Env, q *enforce.Quarantine, args []string, _ string) error {
				r, err := q.Show(args[0])
				if err != nil {
					return cli.Hint(err, "'fpagent quarantine list' prints the ids")
				}
				return cli.WriteJSON(env.Stdout, r)
			})},
		{Name: "quarantine restore", Args: "ID", Summary: "bring a file back to where it was",
			Help: "Nothing is overwritten. A file that was brought back by hand is not moved aside again as long\n" +
				"as its content stays the same. The record is kept.",
			Flags: quarantineCommand(1, true, func(env *cli.Env, q *enforce.Quarantine, args []string, to string) error {
				r, err := q.Restore(args[0], to)
				if err != nil {
					return cli.Hint(err, "--to PATH brings it back to another place on the same file system")
				}
				if env.JSON {
					return cli.WriteJSON(env.Stdout, r)
				}
				_, err = fmt.Fprintf(env.Stdout, "%s is back at %s\n", r.ID, cli.PrintableLine(r.Path))
				return err
			})},
	}
}

func quarantineCommand(want int, elsewhere bool, run func(*cli.Env, *enforce.Quarantine, []string, string) error) func(*flag.FlagSet) func(context.Context, *cli.Env, []string) error {
	return func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
		var s settings
		s.declare(fs)
		to := ""
		if elsewhere {
			fs.StringVar(&to, "to", "", "`PATH` in place of the one where the file was")
		}
		return func(_ context.Context, env *cli.Env, args []string) error {
			if len(args) != want {
				return cli.Usagef("want %d arguments, got %d", want, len(args))
			}
			cfg, err := s.load()
			if err != nil {
				return err
			}
			return run(env, enforce.NewQuarantine(cfg.StateDir, cfg.Enforce.QuarantineDir), args, to)
		}
	}
}

func listQuarantine(env *cli.Env, q *enforce.Quarantine) error {
	list, err := q.List() // what is damaged is said after what is not
	for _, r := range list {
		if env.JSON {
			if werr := cli.WriteJSON(env.Stdout, r); werr != nil {
				return werr
			}
			continue
		}
		fmt.Fprintf(env.Stdout, "%s  %-8s  %s  %-10s  %s %s  %s\n", r.ID, r.State, r.Taken.Local().Format(time.DateTime), cli.Bytes(r.Size),
			cli.PrintableLine(r.Hit.Verdict.Model), cli.PrintableLine(string(r.Hit.Verdict.Verdict)), cli.PrintableLine(r.Path))
	}
	if err == nil && len(list) == 0 && !env.JSON {
		fmt.Fprintln(env.Stdout, "nothing was moved aside")
	}
	return err
}
