package main

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weightwarden/internal/api"
)

// weights writes a file of random bytes just over the size that folders are searched for.
func weights(t *testing.T, seed byte, path ...string) string {
	t.Helper()
	b := make([]byte, minSize+4096)
	if _, err := io.ReadFull(rand.NewChaCha8([32]byte{seed}), b); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// results runs an import with --json and returns what it says, the sum last.
func (c *console) results(code int, args ...string) []imported {
	c.t.Helper()
	got, out, problems := c.run(append([]string{"model", "import", "--json"}, args...)...)
	if got != code {
		c.t.Errorf("%v: exit %d, want %d\n%s%s", args, got, code, out, problems)
	}
	var list []imported
	for line := range strings.Lines(out) {
		var x imported
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			c.t.Fatal(err)
		}
		list = append(list, x)
	}
	return list
}

func (c *console) epoch() int64 {
	c.t.Helper()
	_, out, problems := c.run("snapshot", "list", "--json")
	var newest api.SnapshotInfo
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&newest); err != nil {
		c.t.Fatal(err, problems)
	}
	return newest.Epoch
}

func words3(list []imported) (out []string) {
	for _, x := range list {
		out = append(out, x.Status+" "+x.Model+" "+x.Version)
	}
	return out
}

// A folder in every shape becomes one snapshot; a second run does nothing; a file that
// changed is registered although name and size stayed.
func TestImportFolder(t *testing.T) {
	dir := t.TempDir()
	loose := weights(t, 1, dir, "loose one.gguf")
	weights(t, 2, dir, "big-00001-of-00002.safetensors.bin")
	weights(t, 3, dir, "big-00002-of-00002.safetensors.bin")
	weights(t, 4, dir, "org", "plain", "w.bin")
	weights(t, 5, dir, "diffuser", "unet", "w.bin")
	weights(t, 6, dir, "diffuser", "vae", "w.bin")
	weights(t, 7, dir, ".cache", "w.bin")
	if err := os.WriteFile(filepath.Join(dir, "diffuser", "model_index.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	cached := weights(t, 8, dir, "models--meta--llama", "blobs", "ab12")
	snap := filepath.Join(dir, "models--meta--llama", "snapshots", "0e9e")
	if err := os.MkdirAll(snap, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(cached, filepath.Join(snap, "model.bin")); err != nil {
		t.Fatal(err)
	}

	c := newConsole(t)
	before := c.epoch()
	names := []string{" big 1", " diffuser 1", " loose-one 1", " meta--llama 0e9e", " org--plain 1", "  "}
	expect := func(word string) (out []string) {
		for _, n := range names {
			out = append(out, word+n)
		}
		out[len(out)-1] = "done  "
		return out
	}
	if diff := cmp.Diff(expect("planned"), words3(c.results(0, "--dry-run", dir))); diff != "" {
		t.Error(diff)
	}
	if got := c.epoch(); got != before {
		t.Errorf("a dry run made epoch %d", got)
	}
	got := c.results(0, dir)
	if diff := cmp.Diff(expect("registered"), words3(got)); diff != "" {
		t.Error(diff)
	}
	sum := got[len(got)-1]
	if sum.Registered != 6 || sum.Present != 0 || sum.Snapshot != before+1 || c.epoch() != before+1 {
		t.Errorf("%+v; want 6 artifacts in epoch %d", sum, before+1)
	}
	c.want(0, "unet/w.bin", "model", "show", "diffuser")
	c.want(0, "big-*-of-00002.safetensors.bin", "model", "show", "big")
	again := c.results(0, dir)
	if diff := cmp.Diff(expect("present"), words3(again)); diff != "" {
		t.Error(diff)
	}
	if last := again[len(again)-1]; last.Registered != 0 || last.Present != 6 || c.epoch() != before+1 {
		t.Errorf("a second run: %+v, epoch %d", last, c.epoch())
	}
	weights(t, 9, loose)
	if got := c.results(0, dir); got[2].Status != "registered" || got[len(got)-1].Registered != 1 {
		t.Errorf("changed file: %+v", got)
	}
}

// What cannot be registered is told and hinders nothing else; a list may say more.
func TestImportList(t *testing.T) {
	dir := t.TempDir()
	weights(t, 1, dir, "a.bin")
	weights(t, 2, dir, "b", "b.bin")
	list := filepath.Join(dir, "list.csv")
	rows := "path,name,version,kind,tier\na.bin,alpha,2,,\nnowhere.bin,ghost,1,,\nb,beta,1,protected,2\na.bin,../../up,1,,\na.bin,eleven,1,,11\n"
	if err := os.WriteFile(list, []byte(rows), 0o644); err != nil {
		t.Fatal(err)
	}
	c := newConsole(t)
	got := c.results(2, list)
	want := []string{"registered alpha 2", "failed ghost 1", "registered beta 1", "failed ../../up 1", "failed eleven 1", "done  "}
	if diff := cmp.Diff(want, words3(got)); diff != "" {
		t.Errorf("%s\n%+v", diff, got)
	}
	if sum := got[len(got)-1]; sum.Failed != 3 || sum.Registered != 2 || sum.Models != 5 {
		t.Errorf("%+v", sum)
	}
	c.want(0, "beta", "model", "list")
	c.want(0, "(public)", "model", "show", "alpha")
	c.want(0, "(protected), tier 2", "model", "show", "beta")
	c.want(2, "failed ghost 1", "model", "import", list)
	c.want(2, "5 models", "model", "import", list)

	c.env["WEIGHTWARDEN_TOKEN"] = "wwt1." + strings.Repeat("A", 43)
	c.want(2, "stopped after 0 of 5 models", "model", "import", list)
}

func TestReadList(t *testing.T) {
	fill := wanted{Kind: "public", Version: "1", Owner: "lab"}
	good := map[string][]wanted{
		`{"path":"a","name":"n"}` + "\n\n" + `{"path":"/b","name":"m","version":"2","kind":"dataset","owner":"x","tier":2,"regulated":true}`: {
			{Path: "base/a", Name: "n", Version: "1", Kind: "public", Owner: "lab"},
			{Path: "/b", Name: "m", Version: "2", Kind: "dataset", Owner: "x", Tier: 2, Regulated: true}},
		"\ufeffName,Path,Regulated\n\"n,n\",a,true\n": {{Path: "base/a", Name: "n,n", Version: "1", Kind: "public", Owner: "lab", Regulated: true}},
	}
	for text, want := range good {
		got, err := readList(strings.NewReader(text), text[0] != '{', "base", fill)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v %s", text, err, diff)
		}
	}
	for _, bad := range []string{"", "{}", `{"path":"a","name":"n","colour":"red"}`, `{"path":"a"}`, `{"path":"a","name":"n"} {}`, `[1]`, "path,name\na", "path,colour\na,red", "path,name,tier\na,b,many", "path\na"} {
		if got, err := readList(strings.NewReader(bad), !strings.ContainsAny(bad, "{["), ".", fill); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func FuzzReadList(f *testing.F) {
	f.Add([]byte(`{"path":"a","name":"n","tier":1}`), false)
	f.Add([]byte("path,name,version\na,b,c\n\"x\"\"y\",b,c"), true)
	f.Fuzz(func(t *testing.T, text []byte, isCSV bool) {
		list, err := readList(strings.NewReader(string(text)), isCSV, "base", wanted{Version: "1"})
		if (err == nil) == (len(list) == 0) {
			t.Fatalf("%d models and %v", len(list), err)
		}
		for _, w := range list {
			if w.Path == "" || w.Name == "" || w.Version == "" {
				t.Fatalf("%+v", w)
			}
			if n := api.ModelName(w.Name); len(n) > 128 || strings.ContainsAny(n, "/ \x00") {
				t.Fatalf("%q", n)
			}
		}
	})
}
