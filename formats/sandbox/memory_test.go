//go:build linux && !race

package sandbox_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"weightwarden/formats"
	"weightwarden/formats/sandbox"
)

const memory = 512 << 20

func TestOutOfMemory(t *testing.T) {
	d := sandbox.New(sandbox.Config{MemoryBytes: memory, Timeout: time.Minute})
	_, err := d.Decode(context.Background(), formats.BytesSource("HOSTILE allocate"), formats.Limits{})
	if !errors.Is(err, formats.ErrLimit) {
		t.Fatalf("%v", err)
	}
}
