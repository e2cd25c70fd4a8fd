//go:build !unix

package index

import (
	"io"
	"os"
)

// mapFile reads a part of the file where mapping is not had.
func mapFile(f *os.File, at int64, size int) ([]byte, func() error, error) {
	b := make([]byte, size)
	_, err := io.ReadFull(io.NewSectionReader(f, at, int64(size)), b)
	return b, func() error { return nil }, err
}
