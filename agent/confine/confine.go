// Package confine reads the structure of files for an agent that runs as root:
// never in its own process, always in a child without rights (formats/sandbox).
// Where no child can be had the file is not judged at all, and that is said.
package confine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"weightwarden/formats"
	"weightwarden/formats/sandbox"
	"weightwarden/internal/judge"
)

// Decoder decodes every file in a child of its own. Its methods are safe for
// concurrent use.
type Decoder struct {
	child *sandbox.Decoder
	spool string
}

const (
	spoolName = "unpacked"
	leastRoom = 64 << 20 // bytes that a child may always unpack
	roomShare = 4        // one file takes at most this part of what is free on the disk
)

// New returns a Decoder that keeps what children unpack in a folder below
// stateDir, which the agent does not watch. Where that folder cannot be made
// (fpagent scan without root) they use the folder for temporary files.
func New(stateDir string) *Decoder {
	spool := filepath.Join(stateDir, spoolName)
	if err := os.MkdirAll(spool, 0o700); err != nil || !writable(spool) {
		spool = ""
	}
	return &Decoder{child: sandbox.New(sandbox.Config{SpoolDir: spool}), spool: spool}
}

// writable reports whether files can be made in dir, and removes what a killed
// agent left there.
func writable(dir string) bool {
	old, _ := filepath.Glob(filepath.Join(dir, "weightwarden-*")) // the pattern is well-formed
	for _, name := range old {
		_ = os.Remove(name) // a child that still reads it keeps its descriptor
	}
	f, err := os.CreateTemp(dir, "weightwarden-*")
	if err != nil {
		return false
	}
	return errors.Join(f.Close(), os.Remove(f.Name())) == nil
}

// Decode implements judge.ModelDecoder. An error that wraps judge.ErrNoDecoder
// means that no child could do its work, whatever the file holds.
func (d *Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	if free, ok := d.free(); ok {
		limits.InflatedBytes = min(limits.InflatedBytes, max(leastRoom, free/roomShare))
	}
	m, err := d.child.Decode(ctx, src, limits)
	if err == nil || ctx.Err() != nil || !d.ours(err) {
		return m, err
	}
	// Was it this file, or does no child work here? A child that reads nothing tells.
	if _, perr := d.child.Probe(ctx); perr != nil || errors.Is(err, formats.ErrUnsupported) {
		return nil, fmt.Errorf("%w: %w", judge.ErrNoDecoder, errors.Join(err, perr))
	}
	return nil, err
}

// ours reports whether an error is the sandbox's own, not a decoder's.
func (d *Decoder) ours(err error) bool {
	var e *formats.Error
	return errors.As(err, &e) && e.Format == sandbox.ID && !errors.Is(err, formats.ErrLimit)
}

// Check starts a child and returns the restrictions that hold for it here.
func (d *Decoder) Check(ctx context.Context) ([]string, error) { return d.child.Probe(ctx) }
