//go:build !linux

package sandbox

import (
	"context"

	"weightwarden/formats"
)

// Decode fails: there is no sandbox on this system.
func (d *Decoder) Decode(context.Context, formats.Source, formats.Limits) (*formats.Model, error) {
	return nil, failure(formats.ErrUnsupported, "decoding in a child of its own needs Linux")
}

// Probe fails: there is no sandbox on this system.
func (d *Decoder) Probe(context.Context) ([]string, error) {
	return nil, failure(formats.ErrUnsupported, "decoding in a child of its own needs Linux")
}

func restrict(request) ([]string, error) {
	return nil, failure(formats.ErrUnsupported, "decoding in a child of its own needs Linux")
}

func (l *link) sibling(string) (formats.Source, error) { return nil, formats.ErrNoSiblings }

func (l *link) names(int) ([]string, error) { return nil, formats.ErrNoSiblings }
