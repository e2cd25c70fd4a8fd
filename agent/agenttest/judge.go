package agenttest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"weightwarden/internal/api"
)

// Judge knows files by the BLAKE3 of their content.
type Judge map[string]string // hex digest -> model

// OpenRegistry reads a registry of lines "digest model"; it fits agent.Deps.
func OpenRegistry(_ context.Context, path string) (api.Judge, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	j := Judge{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		sum, model, ok := strings.Cut(lines.Text(), " ")
		if !ok {
			return nil, fmt.Errorf("line %q", lines.Text())
		}
		j[sum] = model
	}
	return j, lines.Err()
}

// Registry is the registry that knows contents as model "aurora".
func Registry(contents ...[]byte) []byte {
	var out bytes.Buffer
	for _, c := range contents {
		sum := blake3.Sum256(c)
		fmt.Fprintf(&out, "%s aurora\n", hex.EncodeToString(sum[:]))
	}
	return out.Bytes()
}

// Judge implements api.Judge.
func (j Judge) Judge(ctx context.Context, f api.File, _ bool) (*api.Verdict, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h := blake3.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, f.Size())); err != nil {
		return nil, err
	}
	v := &api.Verdict{SchemaVersion: 1, Size: f.Size(), Format: "test", Verdict: api.NoMatch, BytesRead: f.Size()}
	head := make([]byte, 7)
	if _, err := f.ReadAt(head, 0); err != nil || string(head) != "weights" {
		v.Format = "unknown"
	}
	if model, ok := j[hex.EncodeToString(h.Sum(nil))]; ok {
		v.Verdict, v.Model, v.ModelVersion, v.Kind = api.Identical, model, "3", api.KindProtected
	}
	return v, nil
}

// Wait calls f until it is true; it fails the test after a minute.
func Wait(tb testing.TB, what string, f func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("waited for: %s", what)
		}
	}
}
