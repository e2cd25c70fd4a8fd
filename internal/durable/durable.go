// Package durable writes files so that whoever reads them, even after a crash, finds
// the old content or the new one, whole.
package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// unfinished are the names of files that are still being written.
const unfinished = ".unfinished-*"

// WriteFile makes b the content of path, with these rights, and returns when it is on
// disk. See Replace.
func WriteFile(path string, b []byte, perm fs.FileMode) error {
	return Replace(path, perm, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// Replace makes what fill writes the content of path, with these rights, and returns
// when it is on disk. Where fill or anything else fails, path stays as it was. A link is
// followed; devices, pipes and the like are written to, never replaced.
func Replace(path string, perm fs.FileMode, fill func(io.Writer) error) (err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return writeTo(path, fill)
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, unfinished)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name()))
		}
	}()
	if err = fill(tmp); err != nil {
		return err
	}
	if err = errors.Join(tmp.Chmod(perm), tmp.Sync()); err != nil {
		return err
	}
	return errors.Join(tmp.Close(), os.Rename(tmp.Name(), path), SyncDir(dir))
}

func writeTo(path string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(fill(f), f.Close())
}

// RemoveUnfinished deletes what a process that was killed in Replace left in a folder
// that nobody else writes to now.
func RemoveUnfinished(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, unfinished))
	for _, n := range names {
		err = errors.Join(err, os.Remove(n))
	}
	return err
}
