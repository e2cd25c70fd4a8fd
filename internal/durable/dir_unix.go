//go:build unix

package durable

import (
	"errors"
	"os"
	"syscall"
)

// SyncDir makes new and renamed names of a folder durable, where its file system can.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil // network and FUSE file systems; the names are there all the same
	}
	return errors.Join(err, d.Close())
}
