package dir_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/archive/dir"
	"weightwarden/formats/formatstest"
	"weightwarden/internal/fixtures"
)

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func decode(t *testing.T, folder string) *formats.Model {
	t.Helper()
	root, err := os.OpenRoot(folder)
	if err != nil {
		t.Fatal(err)
	}
	members, err := dir.Open(context.Background(), root, formats.Limits{})
	if err := errors.Join(err, root.Close()); err != nil {
		t.Fatal(err)
	}
	m, err := all.Decoders().DecodeMembers(context.Background(), dir.ID, members, formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func codes(m *formats.Model) []string {
	var out []string
	for _, f := range m.Findings {
		out = append(out, f.Code)
	}
	return out
}

// shards are the files of a sharded model of three tensors.
func shards(t *testing.T) map[string][]byte {
	out := map[string][]byte{}
	for _, path := range fixtures.Glob(t, "fixtures/safetensors/sharded/model*") {
		if filepath.Ext(filepath.Base(path)) == ".json" && len(filepath.Base(path)) > len("model.safetensors.index.json") {
			continue // .expect.json
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(path)] = data
	}
	return out
}

// TestHubCache reads blobs under their digests, with links for names, as the
// libraries of Hugging Face lay them out.
func TestHubCache(t *testing.T) {
	folder := t.TempDir()
	for name, data := range shards(t) {
		sum := sha256.Sum256(data)
		blob := hex.EncodeToString(sum[:])
		write(t, filepath.Join(folder, "blobs", blob), data)
		link(t, "../../blobs/"+blob, filepath.Join(folder, "snapshots", "abc", name))
	}
	m := decode(t, folder)
	seen := map[string]bool{}
	for i := range m.Tensors {
		tensor := &m.Tensors[i]
		if tensor.Data.Source == nil {
			t.Errorf("%s has no bytes", tensor.Name)
		}
		seen[tensor.Member] = true
	}
	if !seen["snapshots/abc/model.safetensors.index.json!model-00001-of-00003.safetensors"] || len(m.Tensors) != 6 || seen["blobs"] {
		t.Errorf("members %v", seen)
	}
	for _, f := range m.Findings {
		if f.Severity == formats.Unread {
			t.Errorf("%s: %s", f.Code, f.Text)
		}
	}
}

func TestGitLFS(t *testing.T) {
	folder := t.TempDir()
	data, err := os.ReadFile(fixtures.Path(t, "fixtures", "safetensors", "one.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	oid := hex.EncodeToString(sum[:])
	pointer := func(oid string) []byte {
		return fmt.Appendf(nil, "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", oid, len(data))
	}
	write(t, filepath.Join(folder, "model.safetensors"), pointer(oid))
	write(t, filepath.Join(folder, "absent.safetensors"), pointer(hex.EncodeToString(make([]byte, 32))))
	write(t, filepath.Join(folder, ".git/lfs/objects", oid[:2], oid[2:4], oid), data)
	m := decode(t, folder)
	found := false
	for _, tensor := range m.Tensors {
		found = found || tensor.Member == "model.safetensors"
	}
	if !found || !slices.Contains(codes(m), "lfs.pointer") {
		t.Fatalf("%+v", m)
	}
}

func TestLinksStayInside(t *testing.T) {
	outside, folder := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "secret"), []byte("secret"))
	link(t, filepath.Join(outside, "secret"), filepath.Join(folder, "a"))
	link(t, "../"+filepath.Base(outside)+"/secret", filepath.Join(folder, "b"))
	link(t, "loop", filepath.Join(folder, "loop"))
	link(t, outside, filepath.Join(folder, "folder"))
	root, err := os.OpenRoot(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	m, err := dir.Open(context.Background(), root, formats.Limits{})
	if err != nil || len(m.Files) != 0 || len(m.Findings) != 4 {
		t.Fatalf("%v %+v", err, m)
	}
}

func TestLimits(t *testing.T) {
	folder := t.TempDir()
	for i := range 10 {
		write(t, filepath.Join(folder, fmt.Sprint(i)), []byte{byte(i)})
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	m, err := dir.Open(context.Background(), root, formats.Limits{Members: 3})
	if err != nil || len(m.Files) > 3 || len(m.Findings) == 0 {
		t.Fatalf("%v %+v", err, m)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := dir.Open(ctx, root, formats.Limits{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
}

// A tensor that an index or a model tells of another file's bytes is there once,
// under the name that it has there.
func TestOnce(t *testing.T) {
	for folder, want := range map[string]int{"safetensors/sharded": 6, "coreml/ios16.mlpackage": 42} {
		m := decode(t, fixtures.Path(t, "fixtures", filepath.FromSlash(folder)))
		if len(m.Tensors) != want || len(m.Findings) != 0 {
			t.Errorf("%s: %d tensors, findings %v", folder, len(m.Tensors), m.Findings)
		}
		seen := map[string]bool{}
		for _, x := range m.Tensors {
			if seen[x.Name] {
				t.Errorf("%s: tensor %q twice", folder, x.Name)
			}
			seen[x.Name] = true
		}
	}
}

// A file that says something else of a shard's bytes hides nothing of it.
func TestOtherKindHidesNothing(t *testing.T) {
	folder := t.TempDir()
	shard := formatstest.Safetensors(formatstest.Counting("w", formats.F32, 1, 4, 8))
	write(t, filepath.Join(folder, "weights.bin"), shard)
	at := fmt.Sprint(len(shard) - 128)
	entry := func(k, v string) formatstest.Proto { return formatstest.Proto{}.Text(1, k).Text(2, v) }
	tensor := formatstest.Proto{}.Varint(1, 128).Varint(2, 2).Text(8, "bytes").Varint(14, 1).
		Bytes(13, entry("location", "weights.bin")).Bytes(13, entry("offset", at)).Bytes(13, entry("length", "128"))
	write(t, filepath.Join(folder, "a.onnx"), formatstest.Proto{}.Varint(1, 8).Bytes(7, formatstest.Proto{}.Bytes(5, tensor)))
	m := decode(t, folder)
	if len(m.Tensors) != 2 || m.Tensors[1].DType != formats.F32 {
		t.Errorf("tensors %+v", m.Tensors)
	}
}
