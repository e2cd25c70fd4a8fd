package main

import (
	"context"
	"errors"
	"fmt"

	"weightwarden/agent/config"
	"weightwarden/fingerprint"
	"weightwarden/fingerprint/index"
	"weightwarden/internal/api"
	"weightwarden/internal/judge"
)

// registryOpener opens registry files with the organisation's fingerprint key.
type registryOpener struct {
	keyFile string
	decoder judge.ModelDecoder
}

// newOpener returns the opener of a configuration, and what says how files are
// read (agent.Deps.Parsing).
func newOpener(cfg config.Config) (registryOpener, func(context.Context) ([]string, error)) {
	d, check := newDecoder(cfg.StateDir)
	return registryOpener{keyFile: cfg.KeyFile, decoder: d}, check
}

// open makes a judge of a registry file.
func (o registryOpener) open(_ context.Context, path string) (api.Judge, error) {
	var key *fingerprint.Key
	if o.keyFile != "" {
		k, err := fingerprint.ReadKey(o.keyFile)
		if err != nil {
			return nil, fmt.Errorf("key file %q: %w", o.keyFile, err)
		}
		key = k
	}
	db, err := index.Open(path)
	if err != nil {
		return nil, err
	}
	if err := db.Verify(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &judge.Judge{Decoder: o.decoder, Matcher: db, Registry: path, Key: key, Jobs: 1}, nil
}
