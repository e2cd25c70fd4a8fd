//go:build !linux

package enforce

import (
	"errors"
	"os"
)

// Guard cannot be had on this system.
type Guard struct{ Count Counters }

// NewGuard fails: holding up openings needs Linux.
func NewGuard(GuardOptions) (*Guard, error) {
	return nil, errors.New("holding up openings needs Linux")
}

// Add guards nothing.
func (g *Guard) Add(*os.File) error { return nil }

// Refresh does nothing.
func (g *Guard) Refresh() {}

// Denied receives nothing.
func (g *Guard) Denied() <-chan Denied { return nil }

// Close does nothing.
func (g *Guard) Close() error { return nil }

func programOf(os.FileInfo) (program, bool) { return program{}, false }
