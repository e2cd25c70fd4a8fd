package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"weightwarden/fingerprint"
	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/file"
	"weightwarden/formats/keyfile"
	"weightwarden/internal/cli"
	"weightwarden/internal/judge"
)

const (
	fingerprintMagic = "WWFP"  // what a file of a fingerprint starts with
	mostFingerprint  = 2 << 30 // a model of 10 TB takes less
)

// loaded is a file, or the model files of a folder, with the fingerprint as for a registry,
// or a fingerprint read from a file.
type loaded struct {
	path  string
	open  []*file.File   // as long as model is in use
	model *formats.Model // nil: a fingerprint alone, or no decoder reads the file
	print *fingerprint.Fingerprint
}

// close closes the file; what was read of it is kept.
func (l *loaded) close() {
	for _, f := range l.open {
		f.Close()
	}
}

// loadFolder takes the model files of a folder for one model.
func (c *common) loadFolder(ctx context.Context, env *cli.Env, path string) (*loaded, error) {
	out := &loaded{path: path}
	var prints []*fingerprint.Fingerprint
	var models []*formats.Model
	w := walker{fail: func(path string, err error) { cli.PrintError(env, path, err, "") }}
	w.visit = func(path string) error {
		if strings.HasSuffix(path, keyfile.ShardList) || isPartOfDatabase(path) {
			return nil // its shards are read themselves, or it is read with the whole
		}
		l, err := c.load(ctx, env, path)
		if err != nil {
			return err
		}
		if l.model == nil || len(l.model.Tensors) == 0 {
			l.close() // a tokenizer, a picture
			return nil
		}
		out.open = append(out.open, l.open...)
		prints, models = append(prints, l.print), append(models, l.model)
		return nil
	}
	err := w.walk(ctx, path)
	if err == nil && len(prints) == 0 {
		err = atPath(path, errors.New("no model file is in this folder"))
	}
	if err == nil {
		format := models[0].Format
		out.model = formats.Join(formats.ID("dir("+string(format)+")"), models)
		out.print, err = judge.Join(string(out.model.Format), prints)
	}
	if err != nil {
		out.close()
		return nil, err
	}
	return out, nil
}

// isPartOfDatabase reports whether a file is the database of one process, which Orbax
// leaves beside the one of all.
func isPartOfDatabase(path string) bool {
	if filepath.Base(path) != keyfile.OCDBT {
		return false
	}
	_, err := os.Stat(filepath.Join(filepath.Dir(path), "..", keyfile.OCDBT))
	return err == nil
}

// load reads the fingerprint in the file at path, or computes the file's.
func (c *common) load(ctx context.Context, env *cli.Env, path string) (l *loaded, err error) {
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	if isDir(path) {
		return c.loadFolder(ctx, env, path)
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
		return &loaded{path: path, open: []*file.File{src}, print: f}, err
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
	return &loaded{path: path, open: []*file.File{src}, model: model, print: f}, err
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
