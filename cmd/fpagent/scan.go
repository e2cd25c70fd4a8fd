package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"

	"weightwarden/agent/uplink"
	"weightwarden/formats/file"
	"weightwarden/formats/keyfile"
	"weightwarden/internal/api"
	"weightwarden/internal/cli"
)

func scanCommand() cli.Command {
	return cli.Command{
		Name: "scan", Args: "PATH ...", Summary: "judge files and folders now, with the registry this agent holds",
		Help: "Prints one line a file that holds registered weights; nothing is reported to the server (the\n" +
			"running agent does that). Exit code 1: something was found; 2: something could not be judged.",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			var s settings
			s.declare(fs)
			fs.StringVar(&s.registry, "registry", "", "registry `FILE` (.fpdb) in place of the agent's snapshot")
			quick := fs.Bool("quick", false, "read headers and sampled rows only, where that can decide")
			verbose := fs.Bool("verbose", false, "print CLEAR lines too")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) == 0 {
					return cli.Usagef("which file or folder?")
				}
				sc := scanner{env: env, quick: *quick, verbose: *verbose}
				return sc.run(ctx, &s, args)
			}
		},
	}
}

// scanner is one run of fpagent scan.
type scanner struct {
	env            *cli.Env
	judge          api.Judge
	min            int64
	quick, verbose bool
	found, failed  int
}

func (s *scanner) run(ctx context.Context, set *settings, paths []string) error {
	cfg, err := set.load()
	if err != nil {
		return err
	}
	path := cfg.Registry
	if path == "" {
		path, _, _, err = uplink.Held(filepath.Join(cfg.StateDir, "snapshot"))
		if err == nil && path == "" {
			err = errors.New("this agent holds no registry")
		}
		if err != nil {
			return cli.Hint(err, "enrol and run the agent, or name a registry with --registry R.fpdb")
		}
	}
	opener, _ := newOpener(cfg)
	if s.judge, err = opener.open(ctx, path); err != nil {
		return err
	}
	s.min = int64(cfg.Files.MinSize)
	for _, p := range paths {
		if err := s.walk(ctx, p); err != nil {
			return err
		}
	}
	switch {
	case s.found > 0:
		s.env.Exit = cli.ExitMatch
	case s.failed > 0:
		s.env.Exit = cli.ExitError
	}
	return nil
}

func (s *scanner) walk(ctx context.Context, root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.trouble(path, err)
			return nil
		}
		if d.IsDir() || path != root && !d.Type().IsRegular() {
			return nil
		}
		// Files named by hand are judged whatever their size.
		if info, err := d.Info(); err == nil && path != root && info.Size() < s.min && !keyfile.Opaque(path) {
			return nil
		}
		if err := s.file(ctx, path); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.trouble(path, err)
		}
		return nil
	})
}

func (s *scanner) trouble(path string, err error) {
	s.failed++
	cli.PrintError(s.env, path, err, "")
}

func (s *scanner) file(ctx context.Context, path string) (err error) {
	src, err := file.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	v, err := s.judge.Judge(ctx, src, s.quick)
	if err != nil {
		return err
	}
	v.Path = path
	switch {
	case v.Verdict.IsHit():
		s.found++
	case v.Verdict == api.Inconclusive:
		s.failed++
	case !s.verbose:
		return nil
	}
	if s.env.JSON {
		return cli.WriteJSON(s.env.Stdout, v)
	}
	style := cli.Style{Colour: cli.ColourFor(s.env, s.env.Stdout)}
	word := style.Green(string(v.Verdict))
	if v.Verdict.IsHit() {
		word = style.Red(string(v.Verdict))
	} else if v.Verdict == api.Inconclusive {
		word = style.Yellow(string(v.Verdict))
	}
	_, err = fmt.Fprintf(s.env.Stdout, "%s  %s  %s\n", word, cli.PrintableLine(path), cli.PrintableLine(v.Sentence))
	return err
}
