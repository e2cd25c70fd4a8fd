package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"weightwarden/agent/config"
	"weightwarden/internal/cli"
)

const defaultConfig = "/etc/weightwarden/agent.yaml"

// settings are the flags that every sub-command with a configuration has.
type settings struct {
	config, state, socket, registry, server string
	watch                                   stringList
}

// stringList is a flag that may be given several times.
type stringList []string

// String implements flag.Value.
func (l *stringList) String() string { return "" }

// Set implements flag.Value.
func (l *stringList) Set(v string) error {
	*l = append(*l, v)
	return nil
}

func (s *settings) declare(fs *flag.FlagSet) {
	fs.StringVar(&s.config, "config", "", "configuration `FILE`; "+defaultConfig+" where there is one")
	fs.StringVar(&s.state, "state", "", "`DIR` for spool, state and identity, in place of state_dir")
	fs.StringVar(&s.socket, "socket", "", "local status `SOCKET`, in place of the configuration's")
}

// load reads the configuration and lays the flags over it.
func (s *settings) load() (config.Config, error) {
	path := s.config
	if path == "" {
		if _, err := os.Stat(defaultConfig); err == nil {
			path = defaultConfig
		}
	}
	cfg, err := config.Load(path)
	if err != nil {
		return cfg, cli.Hint(err, "'fpagent check-config --schema' prints every key")
	}
	if s.state != "" {
		if cfg.StateDir, err = filepath.Abs(s.state); err != nil {
			return cfg, err
		}
	}
	if s.socket != "" {
		cfg.Socket = s.socket
	}
	if s.registry != "" {
		cfg.Registry = s.registry
	}
	if s.server != "" {
		cfg.Server = s.server
	}
	if len(s.watch) > 0 {
		cfg.Watch.Paths = nil
		for _, p := range s.watch {
			abs, err := filepath.Abs(p)
			if err != nil {
				return cfg, err
			}
			cfg.Watch.Paths = append(cfg.Watch.Paths, abs)
		}
	}
	return cfg, cfg.Check()
}

func checkConfigCommand() cli.Command {
	return cli.Command{
		Name: "check-config", Args: "[FILE]", Summary: "check a configuration file and say what it means",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			schema := fs.Bool("schema", false, "print the JSON schema of the file")
			var s settings
			s.declare(fs)
			return func(_ context.Context, env *cli.Env, args []string) error {
				if *schema {
					fmt.Fprint(env.Stdout, config.Schema)
					return nil
				}
				if len(args) > 1 || len(args) == 1 && s.config != "" {
					return cli.Usagef("one file at a time")
				}
				if len(args) == 1 {
					s.config = args[0]
				}
				return checkConfig(env, &s)
			}
		},
	}
}

func checkConfig(env *cli.Env, s *settings) error {
	cfg, err := s.load()
	if err != nil {
		return err
	}
	var missing []string
	for _, p := range cfg.Watch.Paths {
		if _, err := os.Stat(p); errors.Is(err, os.ErrNotExist) {
			missing = append(missing, p)
		}
	}
	if env.JSON {
		return cli.WriteJSON(env.Stdout, map[string]any{"schema_version": 1, "ok": true, "missing": missing, "watch": cfg.Watch.Paths, "state_dir": cfg.StateDir})
	}
	fmt.Fprintln(env.Stdout, "configuration: ok")
	fmt.Fprintf(env.Stdout, "watches:       %q, tier %s\n", cfg.Watch.Paths, cfg.Watch.Tier)
	fmt.Fprintf(env.Stdout, "state:         %s\n", cfg.StateDir)
	fmt.Fprintf(env.Stdout, "looks at:      files of %s or more\n", cli.Bytes(int64(cfg.Files.MinSize)))
	for _, p := range missing {
		fmt.Fprintf(env.Stdout, "note:          %q does not exist yet; it is watched when it appears\n", p)
	}
	return nil
}
