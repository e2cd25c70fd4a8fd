package main

import (
	"context"

	"weightwarden/agent/confine"
	"weightwarden/internal/judge"
)

// newDecoder returns what reads the structure of files: a child without rights.
func newDecoder(stateDir string) (judge.ModelDecoder, func(context.Context) ([]string, error)) {
	d := confine.New(stateDir)
	return d, d.Check
}
