//go:build unix

package index

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps a part of a file read-only; at is a multiple of the page size.
func mapFile(f *os.File, at int64, size int) ([]byte, func() error, error) {
	b, err := unix.Mmap(int(f.Fd()), at, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	return b, func() error { return unix.Munmap(b) }, nil
}
