//go:build !linux

package scan

import (
	"context"

	"weightwarden/agent/watch"
)

// SweepOpen finds nothing: this system shows nobody's open files.
func (s *Scanner) SweepOpen(context.Context, string, watch.Filter) (Swept, error) {
	return Swept{}, nil
}
