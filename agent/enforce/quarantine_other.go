//go:build !linux

package enforce

import (
	"errors"

	"weightwarden/agent/scan"
	"weightwarden/internal/api"
)

// ErrRefused means that a file was left where it is.
var ErrRefused = errors.New("not quarantined: this needs Linux")

// Take refuses: this system is not supported.
func (q *Quarantine) Take(scan.Info, api.Hit) (Record, error) { return Record{}, ErrRefused }

// Restore refuses: this system is not supported.
func (q *Quarantine) Restore(string, string) (Record, error) { return Record{}, ErrRefused }

// Holding finds nothing: this system is not supported.
func (q *Quarantine) Holding(string) (Record, bool) { return Record{}, false }
