package main

import (
	"context"
	"errors"
	"fmt"

	"weightwarden/fingerprint"
	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/file"
	"weightwarden/internal/cli"
)

const (
	fingerprintMagic = "WWFP"  // what a file of a fingerprint starts with
	mostFingerprint  = 2 << 30 // a model of 10 TB takes less
)

// loaded is a file with its fingerprint as for a registry, or a fingerprint read
// from a file.
type loaded struct {
	path  string
	src   *file.File     // stays open as long as model is in use
	model *formats.Model // nil: a fingerprint alone, or no decoder reads the file
	print *fingerprint.Fingerprint
}

// close closes the file; what was read of it is kept.
func (l *loaded) close() { l.src.Close() }

// load reads the fingerprint in the file at path, or computes the file's.
func (c *common) load(ctx context.Context, env *cli.Env, path string) (l *loaded, err error) {
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	src, err := openModel(path)
	if err != nil {
		return nil, atPath(path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(atPath(path, err), src.Close())
		}
	}()
	if f, err := readFingerprint(src); f != nil || err != nil {
		return &loaded{path: path, src: src, print: f}, err
	}
	model, err := all.Decoders().Decode(ctx, src, formats.Limits{})
	if err != nil && !errors.Is(err, formats.ErrNotRecognized) {
		return nil, err
	}
	progress := cli.NewProgress(env)
	progress.Start(path, src.Size())
	defer progress.Clear()
	f, err := fingerprint.Compute(ctx, src, model, fingerprint.Options{Key: key, Register: true, Jobs: c.jobs,
		FileDigests: true, Progress: progress.Add})
	return &loaded{path: path, src: src, model: model, print: f}, err
}

// readFingerprint decodes a file of a fingerprint; nil and no error for any other
// file.
func readFingerprint(src formats.Source) (*fingerprint.Fingerprint, error) {
	head := make([]byte, min(src.Size(), int64(len(fingerprintMagic))))
	if err := formats.ReadFull(src, head, 0); err != nil || string(head) != fingerprintMagic {
		return nil, err
	}
	if src.Size() > mostFingerprint {
		return nil, fmt.Errorf("a fingerprint of %s is too large to be one", cli.Bytes(src.Size()))
	}
	b := make([]byte, src.Size())
	if err := formats.ReadFull(src, b, 0); err != nil {
		return nil, err
	}
	return fingerprint.Decode(b)
}
