//go:build linux

package sandbox_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/file"
	"weightwarden/formats/sandbox"
	"weightwarden/internal/fixtures"
)

// TestMain is a program that starts itself as a decoder, the way main does. The
// child also knows a decoder that does what an attacker in it would do.
func TestMain(m *testing.M) {
	if sandbox.IsChild(os.Args) {
		d := all.Decoders()
		d.Formats = append(d.Formats, hostile{})
		os.Exit(sandbox.Child(d))
	}
	os.Exit(m.Run())
}

// hostile obeys the file.
type hostile struct{}

func (hostile) ID() formats.ID         { return "hostile" }
func (hostile) Sniff(head []byte) bool { return bytes.HasPrefix(head, []byte("HOSTILE ")) }

func (hostile) Decode(_ context.Context, src formats.Source, _ formats.Limits) (*formats.Model, error) {
	b := make([]byte, src.Size())
	if err := formats.ReadFull(src, b, 0); err != nil {
		return nil, err
	}
	verb, arg, _ := strings.Cut(strings.TrimPrefix(string(b), "HOSTILE "), " ")
	var err error
	switch verb {
	case "panic":
		panic(arg)
	case "spin":
		for {
			arg += "x"
			if len(arg) > 100 {
				arg = ""
			}
		}
	case "allocate":
		var held [][]byte
		for {
			held = append(held, bytes.Repeat([]byte{1}, 64<<20))
		}
	case "exit":
		os.Exit(0)
	case "open":
		_, err = os.ReadFile(arg)
	case "create":
		err = os.WriteFile(arg, []byte("x"), 0o600)
	case "connect":
		_, err = net.Dial("tcp", arg)
	case "exec":
		err = syscall.Exec(arg, nil, nil)
	case "kill":
		err = syscall.Kill(os.Getppid(), syscall.SIGTERM)
	case "root":
		err = syscall.Setuid(0)
	case "say":
		_, err = os.NewFile(3, "control").WriteString(arg)
		time.Sleep(time.Hour)
	}
	return &formats.Model{Format: "hostile", Metadata: []formats.KeyValue{{Key: "error", Value: fmt.Sprint(err)}}}, nil
}

func decoder(t *testing.T) *sandbox.Decoder {
	t.Helper()
	return sandbox.New(sandbox.Config{MemoryBytes: memory, Timeout: 30 * time.Second})
}

func digest(t *testing.T, tensor *formats.Tensor) string {
	t.Helper()
	r, err := tensor.Reader()
	if err != nil {
		return err.Error()
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Errorf("%s: %v", tensor.Name, err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// TestSameAsInProcess holds the child's models against those of this process,
// down to the values, over files in every kind of place.
func TestSameAsInProcess(t *testing.T) {
	paths := append(fixtures.Glob(t, "fixtures/pytorch/t113_*views_*.pt"), fixtures.Glob(t, "models/aurora.*")...)
	paths = append(paths, fixtures.Glob(t, "fixtures/safetensors/sharded/*.json")...)
	paths = append(paths, fixtures.Path(t, "fixtures/zarr/orbax_v2/manifest.ocdbt"), fixtures.Path(t, "fixtures/zarr/numbered/manifest.ocdbt"),
		fixtures.Path(t, "fixtures/zarr/v2/holes/.zarray"), fixtures.Path(t, "fixtures/zarr/v3/shards_zstd/zarr.json"))
	d := decoder(t)
	for _, path := range append(paths, compressed(t)) {
		if strings.HasSuffix(path, ".expect.json") {
			continue
		}
		f, err := file.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		want, wantErr := all.Decoders().Decode(context.Background(), f, formats.Limits{})
		got, gotErr := d.Decode(context.Background(), f, formats.Limits{})
		if (wantErr == nil) != (gotErr == nil) {
			t.Errorf("%s: %v in process, %v in the child", path, wantErr, gotErr)
		}
		if wantErr == nil && gotErr == nil {
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(formats.Extent{}, "Source", "Offset"), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s:\n%s", path, diff)
			}
			for i := range want.Tensors {
				if digest(t, &want.Tensors[i]) != digest(t, &got.Tensors[i]) {
					t.Errorf("%s: %s differs", path, want.Tensors[i].Name)
				}
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestHostileChild(t *testing.T) {
	d := decoder(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, do string
		reason   error
		says     string // of the attempt's error, where the child lived
	}{
		{"panics", "panic boom", formats.ErrMalformed, ""},
		{"exits", "exit", formats.ErrMalformed, ""},
		{"runs a program", "exec /bin/true", formats.ErrMalformed, ""},
		{"connects", "connect 127.0.0.1:1", formats.ErrMalformed, ""},
		{"reads a file", "open " + secret, nil, "operation not permitted"},
		{"reads a public file", "open /etc/passwd", nil, "operation not permitted"},
		{"writes a file", "create /tmp/x", nil, "operation not permitted"},
		{"signals the parent", "kill", nil, "operation not permitted"},
		{"becomes root", "root", nil, "operation not permitted"},
		{"answers nonsense", "say " + strings.Repeat("\xff", 20), formats.ErrMalformed, ""},
		{"answers another frame", "say zzz", formats.ErrMalformed, ""},
		{"asks for a sibling outside", "say s\x09../secret", nil, "hang"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.says == "hang" {
				d = sandbox.New(sandbox.Config{MemoryBytes: memory, Timeout: 300 * time.Millisecond})
				tc.reason = formats.ErrLimit
			}
			m, err := d.Decode(context.Background(), formats.BytesSource("HOSTILE "+tc.do), formats.Limits{})
			if tc.reason != nil {
				var fe *formats.Error
				if m != nil || !errors.As(err, &fe) || fe.Format != "sandbox" || !errors.Is(err, tc.reason) {
					t.Fatalf("%v, %v", m, err)
				}
				return
			}
			if err != nil || !strings.Contains(m.Metadata[0].Value, tc.says) {
				t.Fatalf("%v, %v", m, err)
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	d := sandbox.New(sandbox.Config{MemoryBytes: memory, Timeout: 200 * time.Millisecond})
	_, err := d.Decode(context.Background(), formats.BytesSource("HOSTILE spin"), formats.Limits{})
	if !errors.Is(err, formats.ErrLimit) {
		t.Fatalf("%v", err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := decoder(t).Decode(ctx, formats.BytesSource("HOSTILE spin"), formats.Limits{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
}

func TestProbe(t *testing.T) {
	applied, err := decoder(t).Probe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%q", applied)
	for _, want := range []string{"rlimits", "no_new_privs", "seccomp"} {
		if !slices.Contains(applied, want) {
			t.Errorf("%s does not hold", want)
		}
	}
}

func TestProgramIsMissing(t *testing.T) {
	_, err := sandbox.New(sandbox.Config{Program: "/nonexistent"}).Decode(context.Background(), formats.BytesSource("x"), formats.Limits{})
	if !errors.Is(err, formats.ErrUnsupported) {
		t.Fatalf("%v", err)
	}
}
