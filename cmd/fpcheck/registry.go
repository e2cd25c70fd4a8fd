package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/index"
	"weightwarden/formats/all"
	"weightwarden/internal/cli"
	"weightwarden/internal/judge"
)

// registryEnv names the registry where --registry does not.
const registryEnv = "WEIGHTWARDEN_REGISTRY"

// agentSnapshots is where fpagent keeps the registry it holds.
const agentSnapshots = "/var/lib/weightwarden/snapshot/*.fpdb"

// common are the flags that several commands share.
type common struct {
	registry string
	keyFile  string
	jobs     int
}

func (c *common) register(fs *flag.FlagSet) {
	fs.StringVar(&c.registry, "registry", "", "`R.fpdb` to judge against (default $"+registryEnv+", else the snapshot of this machine's agent)")
	c.compute(fs)
}

func (c *common) compute(fs *flag.FlagSet) {
	fs.StringVar(&c.keyFile, "key-file", "", "`FILE` with the organisation's fingerprint key (default: the public key)")
	fs.IntVar(&c.jobs, "jobs", 0, "`N` cores to use (default: all)")
}

// key reads --key-file.
func (c *common) key() (*fingerprint.Key, error) {
	if c.keyFile == "" {
		return nil, nil
	}
	k, err := fingerprint.ReadKey(c.keyFile)
	if err != nil {
		return nil, fmt.Errorf("key file %q: %w", c.keyFile, err)
	}
	return k, nil
}

// path settles which registry is meant.
func (c *common) path(env *cli.Env) (string, error) {
	if c.registry != "" {
		return c.registry, nil
	}
	if p := env.Getenv(registryEnv); p != "" {
		return p, nil
	}
	if found, err := filepath.Glob(agentSnapshots); err == nil && len(found) > 0 {
		return slices.MaxFunc(found, byTime), nil
	}
	return "", cli.Hint(errors.New("there is no registry to judge against"),
		"name one with --registry R.fpdb or %s; 'fpcheck registry add --registry R.fpdb --name MODEL --version 1 FILE' makes one", registryEnv)
}

func byTime(a, b string) int {
	ia, errA := os.Stat(a)
	ib, errB := os.Stat(b)
	if errA != nil || errB != nil {
		return strings.Compare(a, b)
	}
	return ia.ModTime().Compare(ib.ModTime())
}

// open opens the registry to judge against.
func (c *common) open(env *cli.Env) (*index.DB, string, error) {
	path, err := c.path(env)
	if err != nil {
		return nil, "", err
	}
	if strings.Contains(path, "://") {
		return nil, "", cli.Hint(fmt.Errorf("registry %q: this program works offline", path),
			"'fpctl snapshot' fetches the server's registry, signature checked; judge against that file")
	}
	db, err := openFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", cli.Hint(fmt.Errorf("registry %q: no such file", path),
			"'fpcheck registry add --registry %s --name MODEL --version 1 FILE' makes one", path)
	}
	return db, path, err
}

// openFor opens the registry to judge files against with the key of c. Where that
// could only ever say "no match", it is an error.
func (c *common) openFor(env *cli.Env) (*index.DB, string, error) {
	db, path, err := c.open(env)
	if err != nil {
		return nil, "", err
	}
	key, err := c.key()
	if err == nil {
		err = usable(db, key)
	}
	if err != nil {
		return nil, "", errors.Join(err, db.Close())
	}
	return db, path, nil
}

func usable(db *index.DB, key *fingerprint.Key) error {
	entries := db.Entries()
	if len(entries) == 0 {
		return cli.Hint(errors.New("the registry is empty: there is nothing to judge against"), "'fpcheck registry add' fills it")
	}
	if key == nil {
		key = fingerprint.PublicKey()
	}
	e := entries[0]
	f, ok := db.Fingerprint(e.Model, e.Version, e.Artifact)
	if !ok {
		return errors.New("the registry cannot be read: it is damaged")
	}
	if f.KeyID != key.ID() {
		return cli.Hint(fmt.Errorf("the registry was made with the key %s, this is %s", f.KeyID, key.ID()), "give the key with --key-file")
	}
	return nil
}

func openFile(path string) (*index.DB, error) {
	db, err := index.Open(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("registry %q: %w", path, err)
	}
	return db, err
}

// judge makes the judge that all commands use.
func (c *common) judge(env *cli.Env, db judge.Matcher, progress *cli.Progress) (*judge.Judge, error) {
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	return &judge.Judge{Decoder: all.Decoders(), Matcher: db, Key: key, Jobs: c.jobs, Progress: progress.Add}, nil
}
