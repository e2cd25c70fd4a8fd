package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/index"
	"weightwarden/formats/keyfile"
	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/internal/judge"
)

// listed is one registered artifact as the registry commands print it.
type listed struct {
	SchemaVersion int    `json:"schema_version"`
	Action        string `json:"action,omitempty"` // "added", "removed"
	Model         string `json:"model"`
	Version       string `json:"version"`
	Kind          string `json:"kind"`
	Artifact      string `json:"artifact"`
	Size          int64  `json:"size"`
	Tensors       int    `json:"tensors"`
	Parameters    int64  `json:"parameters"`
	Content       string `json:"content,omitempty"`
}

func listing(e index.Entry, action string) listed {
	l := listed{SchemaVersion: api.SchemaVersion, Action: action, Model: e.Model, Version: e.Version, Kind: e.Kind,
		Artifact: e.Artifact, Size: e.Size, Tensors: e.Tensors, Parameters: e.Parameters}
	if !e.Content.IsZero() {
		l.Content = e.Content.String()
	}
	return l
}

func registryAddCommand() cli.Command {
	return cli.Command{
		Name:    "registry add",
		Args:    "FILE|DIR ...",
		Summary: "register model files, or fingerprints of them, in a local registry",
		Help: `Shards that are named as such (…-00001-of-00004…) become one artifact; every other file is one of
its own. A file that 'fpcheck fingerprint -o' wrote stands for the model it was made of. The
registry is made when it does not exist; an artifact of the same name is replaced.`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			a := &adder{}
			a.register(fs)
			fs.StringVar(&a.name, "name", "", "`NAME` of the model")
			fs.StringVar(&a.version, "version", "", "`V`ersion of the model")
			fs.StringVar(&a.kind, "kind", api.KindProtected, "`KIND`: protected, public or dataset")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) == 0 || a.name == "" || a.version == "" {
					return cli.Usagef("--name, --version and at least one file are wanted")
				}
				return a.run(ctx, env, args)
			}
		},
	}
}

// adder is one run of registry add.
type adder struct {
	common
	name, version, kind string

	entries []index.Entry
	shards  map[string]int // set -> place in entries
}

func (a *adder) run(ctx context.Context, env *cli.Env, args []string) error {
	path, err := a.path(env)
	if err != nil {
		return err
	}
	db, err := openFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		db, err = index.New(), nil
	}
	if err != nil {
		return err
	}
	defer db.Close()
	a.shards = map[string]int{}
	var failed error
	for _, operand := range args {
		w := &walker{
			fail:  func(path string, err error) { failed = errors.Join(failed, atPath(path, err)) },
			visit: func(path string) error { return a.add(ctx, env, path, path == operand) },
		}
		if err := errors.Join(w.walk(ctx, operand), failed); err != nil {
			return fmt.Errorf("nothing was registered: %w", err)
		}
	}
	if len(a.entries) == 0 {
		return errors.New("nothing was registered: no file with weights was found")
	}
	if err := db.Add(a.entries...); err != nil {
		return err
	}
	if err := db.Save(path); err != nil {
		return fmt.Errorf("registry %q: %w", path, err)
	}
	return a.report(env, db, path)
}

// add fingerprints one file and puts it with its set. In a folder, what holds no
// weights is passed by, and shards where a list of them stands for the model.
func (a *adder) add(ctx context.Context, env *cli.Env, path string, named bool) error {
	set := shardSet(path)
	if lists, err := filepath.Glob(filepath.Join(quoteGlob(filepath.Dir(path)), "*"+keyfile.ShardList)); !named && set != "" && err == nil && len(lists) > 0 {
		return nil
	}
	l, err := a.load(ctx, env, path)
	if err != nil {
		return err
	}
	defer l.close()
	f := l.print
	if len(f.Tensors) == 0 && a.kind != api.KindDataset {
		if !named {
			return nil
		}
		return cli.Hint(atPath(path, errors.New("no weights were found in this file")), "files of a data set are registered with --kind %s", api.KindDataset)
	}
	e := index.Entry{Model: a.name, Version: a.version, Kind: a.kind, Artifact: filepath.Base(path), Fingerprint: f}
	if set == "" {
		a.entries = append(a.entries, e)
		return nil
	}
	e.Artifact = filepath.Base(set)
	i, ok := a.shards[set]
	if !ok {
		a.shards[set] = len(a.entries)
		a.entries = append(a.entries, e)
		return nil
	}
	joined, err := judge.Join(f.Format, []*fingerprint.Fingerprint{a.entries[i].Fingerprint, f})
	a.entries[i].Fingerprint = joined
	return err
}

// quoteGlob makes a pattern that matches a path and nothing else.
func quoteGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func (a *adder) report(env *cli.Env, db *index.DB, path string) error {
	added := map[string]bool{}
	for _, e := range a.entries {
		added[e.Artifact] = true
	}
	for _, e := range db.Entries() {
		if e.Model != a.name || e.Version != a.version || !added[e.Artifact] {
			continue
		}
		if env.JSON {
			if err := cli.WriteJSON(env.Stdout, listing(e, "added")); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(env.Stdout, "registered %s %s (%s): %s, %s, %s\n", cli.PrintableLine(e.Model), cli.PrintableLine(e.Version),
			e.Kind, cli.PrintableLine(e.Artifact), cli.Plural(e.Tensors, "tensor", "tensors"), parameters(e.Parameters))
	}
	if !env.JSON {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "registry   %s: %s, %s\n", cli.PrintableLine(path), cli.Plural(db.Len(), "artifact", "artifacts"), cli.Bytes(info.Size()))
	}
	return nil
}

func registryListCommand() cli.Command {
	return cli.Command{
		Name:    "registry list",
		Summary: "list what is registered",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			var c common
			fs.StringVar(&c.registry, "registry", "", "`R.fpdb` to list (default $"+registryEnv+", else the snapshot of this machine's agent)")
			return func(_ context.Context, env *cli.Env, args []string) error {
				if len(args) > 0 {
					return cli.Usagef("no operand is wanted")
				}
				return listRegistry(env, &c)
			}
		},
	}
}

func listRegistry(env *cli.Env, c *common) error {
	db, _, err := c.open(env)
	if err != nil {
		return err
	}
	defer db.Close()
	t := &cli.Table{Right: []bool{false, false, false, false, true, true, true}}
	t.Row("MODEL", "VERSION", "KIND", "ARTIFACT", "BYTES", "TENSORS", "PARAMETERS")
	for _, e := range db.Entries() {
		if env.JSON {
			if err := cli.WriteJSON(env.Stdout, listing(e, "")); err != nil {
				return err
			}
			continue
		}
		t.Row(e.Model, e.Version, e.Kind, e.Artifact, cli.Count(e.Size), cli.Count(int64(e.Tensors)), cli.Count(e.Parameters))
	}
	if !env.JSON {
		t.Print(env.Stdout, cli.Style{Colour: cli.ColourFor(env, env.Stdout)})
	}
	return nil
}

func registryRemoveCommand() cli.Command {
	return cli.Command{
		Name:    "registry rm",
		Summary: "take a model, or one version of it, out of a local registry",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			var c common
			fs.StringVar(&c.registry, "registry", "", "`R.fpdb` to change (default $"+registryEnv+")")
			name := fs.String("name", "", "`NAME` of the model")
			version := fs.String("version", "", "only this `V`ersion (default: all)")
			return func(_ context.Context, env *cli.Env, args []string) error {
				if len(args) > 0 || *name == "" {
					return cli.Usagef("--name is wanted, and no operand")
				}
				return removeModel(env, &c, *name, *version)
			}
		},
	}
}

func removeModel(env *cli.Env, c *common, name, version string) error {
	db, path, err := c.open(env)
	if err != nil {
		return err
	}
	defer db.Close()
	before := db.Entries()
	n := db.Remove(name, version)
	if n == 0 {
		return cli.Hint(fmt.Errorf("the registry holds no %q %s", name, version), "'fpcheck registry list' shows what it holds")
	}
	if err := db.Save(path); err != nil {
		return fmt.Errorf("registry %q: %w", path, err)
	}
	if !env.JSON {
		fmt.Fprintf(env.Stdout, "removed %s of %s; %d left\n", cli.Plural(n, "artifact", "artifacts"), cli.PrintableLine(name), db.Len())
		return nil
	}
	for _, e := range before {
		if e.Model == name && (version == "" || e.Version == version) {
			if err := cli.WriteJSON(env.Stdout, listing(e, "removed")); err != nil {
				return err
			}
		}
	}
	return nil
}
