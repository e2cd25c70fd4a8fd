package index

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	ft "weightwarden/fingerprint/fingerprinttest"
)

// TestSpill: a registry made in a file is the same, byte for byte, as one made in memory, and needs neither the name
// of that file nor that of the one it began with.
func TestSpill(t *testing.T) {
	dir := t.TempDir()
	start := New()
	if err := start.Add(large(1), large(2)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "start.fpdb")
	if err := start.Save(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	mapped, err := OpenFile(f)
	if err != nil {
		t.Fatal(err)
	}
	defer mapped.Close()
	spill, err := os.Create(filepath.Join(dir, "spill"))
	if err != nil {
		t.Fatal(err)
	}
	for seed := uint64(3); seed < 6; seed++ {
		for _, db := range []*DB{start, mapped} {
			if err := db.Append(large(seed)); err != nil {
				t.Fatal(err)
			}
			if n := db.Keep(func(e *Entry) bool { return e.Model != "m2" }); n != 0 && seed > 3 {
				t.Errorf("%d removed again", n)
			}
		}
		if err := mapped.Spill(spill); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range mapped.segments {
		if !s.mapped {
			t.Errorf("a segment of %d bytes is in memory", len(s.raw))
		}
	}
	for _, f := range []*os.File{f, spill} {
		f.Close()
		if err := os.Remove(f.Name()); err != nil {
			t.Fatal(err)
		}
	}
	var want, got bytes.Buffer
	if _, err := start.WriteTo(&want); err != nil {
		t.Fatal(err)
	}
	if _, err := mapped.WriteTo(&got); err != nil || !bytes.Equal(want.Bytes(), got.Bytes()) {
		t.Errorf("%d bytes, in memory %d, %v", got.Len(), want.Len(), err)
	}
	if mapped.Len() != 4 || !mapped.Complete() {
		t.Errorf("%d entries, complete %v", mapped.Len(), mapped.Complete())
	}
	if err := mapped.Close(); err != nil {
		t.Error(err)
	}
}

// large is an entry whose segment takes more than a megabyte.
func large(seed uint64) Entry {
	matrices := make([][2]int64, 100)
	for i := range matrices {
		matrices[i] = [2]int64{1024, 4096}
	}
	return Entry{Model: "m" + string(rune('0'+seed)), Version: "1", Kind: "protected", Artifact: "a", Fingerprint: ft.Invented(seed, matrices, 1)}
}
