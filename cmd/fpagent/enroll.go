package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"weightwarden/agent/identity"
	"weightwarden/agent/process"
	"weightwarden/internal/buildinfo"
	"weightwarden/internal/cli"
)

func enrollCommand() cli.Command {
	return cli.Command{
		Name: "enroll", Summary: "make this machine an agent of a server",
		Help: "The token comes from 'fpctl token new --enrol' and works once, unless it was made for more. It\n" +
			"also names the server's CA, so the very first connection is verified. '--token -' reads it from\n" +
			"standard input, where other people on the machine cannot see it; FPAGENT_TOKEN works too.",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			var s settings
			s.declare(fs)
			server := fs.String("server", "", "`URL` of the server, https://...")
			token := fs.String("token", "", "one-time `TOKEN`")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) > 0 {
					return cli.Usagef("unexpected %q", args[0])
				}
				return enroll(ctx, env, &s, *server, *token)
			}
		},
	}
}

func enroll(ctx context.Context, env *cli.Env, s *settings, server, token string) error {
	cfg, err := s.load()
	if err != nil {
		return err
	}
	if server == "" {
		server = cfg.Server
	}
	switch token {
	case "":
		token = env.Getenv("FPAGENT_TOKEN")
	case "-":
		b, err := io.ReadAll(io.LimitReader(env.Stdin, 4096))
		if err != nil {
			return err
		}
		token = strings.TrimSpace(string(b))
	}
	if server == "" || token == "" {
		return cli.Usagef("--server and --token are needed")
	}
	host := process.HostFacts()
	if host.Name == "" {
		host.Name, _ = os.Hostname() // a host without a name has none
	}
	id, err := identity.Enroll(ctx, cfg.StateDir, server, token, host, buildinfo.Version())
	if err != nil {
		return cli.Hint(err, "%s", identity.Advice(err))
	}
	if id.Ahead.Abs() > time.Minute {
		fmt.Fprintf(env.Stderr, "warning: this machine's clock and the server's are %v apart; hits bear this machine's times\n", id.Ahead.Abs().Round(time.Second))
	}
	_, until := id.RenewAt()
	if env.JSON {
		return cli.WriteJSON(env.Stdout, map[string]any{"schema_version": 1, "agent_id": id.AgentID, "server": id.Server, "not_after": until})
	}
	fmt.Fprintf(env.Stdout, "enrolled as %s with %s\n", cli.PrintableLine(id.AgentID), id.Server)
	fmt.Fprintf(env.Stdout, "certificate valid until %s, renewed by itself\n", until.Local().Format(time.DateTime))
	return nil
}
