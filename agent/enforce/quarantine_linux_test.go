package enforce

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weightwarden/agent/scan"
	"weightwarden/internal/api"
)

// bed is a quarantine, and a file that was judged.
type bed struct {
	q      *Quarantine
	path   string
	judged scan.Info
	hit    api.Hit
}

func newBed(t *testing.T) *bed {
	t.Helper()
	root := t.TempDir() // the same file system for both
	b := &bed{q: NewQuarantine(filepath.Join(root, "state"), ""), path: filepath.Join(root, "data", "copy.bin")}
	if err := os.Mkdir(filepath.Dir(b.path), 0o755); err != nil {
		t.Fatal(err)
	}
	b.write(t, "weights")
	b.judged = b.stat(t)
	b.hit = api.Hit{SchemaVersion: 1, Verdict: api.Verdict{Verdict: api.Identical, Path: b.path, Model: "aurora"}}
	return b
}

func (b *bed) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(b.path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func (b *bed) stat(t *testing.T) scan.Info {
	t.Helper()
	f, err := scan.OpenFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := scan.Stat(f)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func (b *bed) content(t *testing.T) string {
	t.Helper()
	c, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	return string(c)
}

func TestQuarantineAndBack(t *testing.T) {
	b := newBed(t)
	r, err := b.q.Take(b.judged, b.hit)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(b.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	if c, err := os.ReadFile(r.Held); err != nil || string(c) != "weights" {
		t.Errorf("in quarantine lies %q, %v", c, err)
	}
	info, err := os.Stat(filepath.Dir(r.Held))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v, %v", info.Mode(), err)
	}
	if got, ok := b.q.Holding(r.Held); !ok || got.ID != r.ID {
		t.Errorf("Holding: %+v, %v", got, ok)
	}
	list, err := b.q.List()
	if err != nil || len(list) != 1 || list[0].State != StateHeld {
		t.Fatalf("%+v, %v", list, err)
	}
	if diff := cmp.Diff(r, list[0], cmpopts.EquateApproxTime(0)); diff != "" {
		t.Error(diff)
	}
	back, err := b.q.Restore(r.ID, "")
	if err != nil || back.State != StateRestored || b.content(t) != "weights" {
		t.Errorf("%+v, %v", back, err)
	}
	if _, err := b.q.Restore(r.ID, ""); err == nil {
		t.Error("brought back twice")
	}
	// What a person brought back stays.
	if _, err := b.q.Take(b.stat(t), b.hit); !errors.Is(err, ErrRefused) {
		t.Errorf("taken again: %v", err)
	}
}

func TestQuarantineRefuses(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *bed){
		"changed": func(t *testing.T, b *bed) { b.write(t, "weightz") },
		"swapped": func(t *testing.T, b *bed) {
			if err := os.Remove(b.path); err != nil {
				t.Fatal(err)
			}
			b.write(t, "weights")
		},
		"gone": func(t *testing.T, b *bed) {
			if err := os.Rename(b.path, b.path+"x"); err != nil {
				t.Fatal(err)
			}
		},
		"folder is a link now": func(t *testing.T, b *bed) {
			dir := filepath.Dir(b.path)
			if err := errors.Join(os.Rename(dir, dir+"2"), os.Symlink(dir+"2", dir)); err != nil {
				t.Fatal(err)
			}
		},
		"records cannot be written": func(t *testing.T, b *bed) {
			if err := errors.Join(os.MkdirAll(b.q.home, 0o700), os.Symlink("/nonexistent/x", filepath.Join(b.q.dir, "a"))); err != nil {
				t.Fatal(err)
			}
			b.q.dir = filepath.Join(b.q.dir, "a")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			change(t, b)
			r, err := b.q.Take(b.judged, b.hit)
			if !errors.Is(err, ErrRefused) || r.ID != "" {
				t.Errorf("%+v, %v", r, err)
			}
			if held, _ := filepath.Glob(filepath.Join(b.q.home, "*.held")); len(held) > 0 {
				t.Errorf("%q lies in quarantine", held)
			}
		})
	}
}

func TestRestoreOverwritesNothing(t *testing.T) {
	b := newBed(t)
	r, err := b.q.Take(b.judged, b.hit)
	if err != nil {
		t.Fatal(err)
	}
	b.write(t, "another file")
	if _, err := b.q.Restore(r.ID, ""); err == nil || b.content(t) != "another file" {
		t.Errorf("restored over a file: %v", err)
	}
	other := b.path + ".back"
	if got, err := b.q.Restore(r.ID, other); err != nil || got.Path != other {
		t.Errorf("%+v, %v", got, err)
	}
	for _, id := range []string{"", "..", "../x", "nothing", ".record-1"} {
		if _, err := b.q.Show(id); !errors.Is(err, ErrNoRecord) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestDamagedRecordIsSaid(t *testing.T) {
	b := newBed(t)
	if _, err := b.q.Take(b.judged, b.hit); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.q.dir, "bad.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := b.q.List(); err == nil || len(list) != 1 {
		t.Errorf("%d records, %v", len(list), err)
	}
}

func TestRules(t *testing.T) {
	r := Rules{Verdicts: []api.Word{api.Identical}, Destinations: []string{"removable"}, AllowPaths: []string{"/models/"}, AllowPrograms: []string{"/usr/bin/trainer"}}
	hit := func(word api.Word, class, path, exe string) api.Hit {
		return api.Hit{Verdict: api.Verdict{Verdict: word, Path: path}, Destination: api.Destination{Class: class}, Process: &api.Process{Exe: exe}}
	}
	for _, tt := range []struct {
		hit  api.Hit
		want bool
	}{
		{hit(api.Identical, "removable", "/mnt/a", "/usr/bin/cp"), true},
		{hit(api.Inconclusive, "removable", "/mnt/a", "/usr/bin/cp"), false},
		{hit(api.Identical, "fixed", "/mnt/a", "/usr/bin/cp"), false},
		{hit(api.Identical, "removable", "/models/a", "/usr/bin/cp"), false},
		{hit(api.Identical, "removable", "/models2/a", "/usr/bin/cp"), true},
		{hit(api.Identical, "removable", "/mnt/a", "/usr/bin/trainer"), false},
	} {
		if got, why := r.Quarantines(&tt.hit); got != tt.want || got == (why != "") {
			t.Errorf("%+v: %v, %q", tt.hit, got, why)
		}
	}
}
