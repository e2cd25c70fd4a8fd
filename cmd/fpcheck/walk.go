package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"weightwarden/formats/keyfile"
	"weightwarden/internal/cli"
)

// smallest is the size below which a walk passes files by: no chunk, and no
// matrix that could be evidence, fits into one.
const smallest = 4096

// modelFolder is the folder of the model that a file is a part of: arrays in chunks
// have folders of their own in it.
func modelFolder(path string) string {
	dir := filepath.Dir(path)
	if keyfile.IsZarr(filepath.Base(path)) {
		return filepath.Dir(dir)
	}
	return dir
}

// walker hands every file below some operands to visit.
type walker struct {
	visit func(path string) error
	fail  func(path string, err error) // what could not be opened or listed
	small int                          // files passed by since they are small
	other int                          // links, pipes, devices passed by
}

// walk visits the operand itself when it is a file, else every regular file below
// it of at least the smallest size, or that stands for more. What cannot be listed is reported and the
// walk goes on; the error is that of visit or of ctx.
func (w *walker) walk(ctx context.Context, operand string) error {
	info, err := os.Stat(operand)
	if err != nil {
		w.fail(operand, notThere(operand, err))
		return nil
	}
	if !info.IsDir() {
		return w.visit(operand)
	}
	return filepath.WalkDir(operand, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			w.fail(path, err)
			return nil
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			if path == operand { // a link to a folder, given by hand
				return w.walk(ctx, path+string(filepath.Separator))
			}
			w.other++
			return nil
		}
		if info, err := d.Info(); err == nil && info.Size() < smallest && !keyfile.Is(path) {
			w.small++
			return nil
		}
		return w.visit(path)
	})
}

// notThere turns a missing operand into an error that helps somebody who
// mistyped a command.
func notThere(operand string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = errors.New("no such file")
	if !strings.ContainsAny(operand, "./\\") {
		return cli.Hint(err, "and no command of this name; 'fpcheck help' lists the commands")
	}
	return err
}

// shardName matches the names that hubs and llama.cpp give to the shards of one
// model: model-00001-of-00004.safetensors.
var shardName = regexp.MustCompile(`^(.*)[-_.](\d{5})-of-(\d{5})(\.[^.]*)?$`)

// shardSet returns what the shards of path's set have in common, "" when path is
// not named like a shard.
func shardSet(path string) string {
	m := shardName.FindStringSubmatch(filepath.Base(path))
	if m == nil {
		return ""
	}
	return filepath.Join(filepath.Dir(path), m[1]+"-*-of-"+m[3]+m[4])
}
