package index

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/formats"
)

func entry(t *testing.T, seed uint64) Entry {
	t.Helper()
	src, m := ft.File("header", ft.Net(seed, 1, 64), formats.F32)
	fp, err := fingerprint.Compute(t.Context(), src, m, fingerprint.Options{Register: true})
	if err != nil {
		t.Fatal(err)
	}
	if fp, err = fingerprint.Decode(fp.Encode()); err != nil { // as stored: numbers are rounded
		t.Fatal(err)
	}
	return Entry{Model: fmt.Sprintf("model-%d", seed), Version: "1", Kind: "protected", Artifact: "m", Fingerprint: fp}
}

func segmentOf(t *testing.T, entries ...Entry) *segment {
	t.Helper()
	s, err := newSegment(entries)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestJoinedSegments: segments that are joined are what their entries would have made at once, byte for byte.
func TestJoinedSegments(t *testing.T) {
	var e []Entry
	for seed := range uint64(6) {
		e = append(e, entry(t, seed))
	}
	e[4].Fingerprint = e[1].Fingerprint // has all keys in common
	first, second, third := segmentOf(t, e[0], e[1], e[2]), segmentOf(t, e[3]), segmentOf(t, e[4], e[5])
	second.vectors = nil // as of a registry made before there were any
	got, err := joinSegments([]kept{{first, []int{0, 2}}, {second, []int{0}}, {third, []int{0, 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if want := segmentOf(t, e[0], e[2], e[3], e[4], e[5]); !bytes.Equal(got.raw, want.raw) {
		t.Errorf("joined: %d bytes, made at once: %d bytes, or others", len(got.raw), len(want.raw))
	}
}

// TestGrowingRegistry: one model after another keeps few segments, and does not write all of them anew each time.
func TestGrowingRegistry(t *testing.T) {
	db := New()
	e := entry(t, 1)
	size, written, most, models := 0, 0, 0, 150
	for i := range models {
		e.Model = fmt.Sprintf("model-%d", i)
		if err := db.Add(e); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 {
			db.Remove(fmt.Sprintf("model-%d", i-5), "")
		}
		before := slices.Clone(db.segments)
		if _, err := db.WriteTo(io.Discard); err != nil {
			t.Fatal(err)
		}
		for _, s := range db.segments {
			if !slices.Contains(before, s) {
				written += len(s.raw)
			}
		}
		size, most = max(size, len(before[len(before)-1].raw)), max(most, len(db.segments))
	}
	if most > mostSmall {
		t.Errorf("%d segments", most)
	}
	if written > 12*models*size {
		t.Errorf("%d bytes were joined for %d models of %d", written, models, size)
	}
	if got := db.Len(); got != models-models/10 {
		t.Errorf("%d entries", got)
	}
	for i, x := range db.Entries() {
		if want := fmt.Sprintf("model-%d", i/9*10+[]int{0, 1, 2, 3, 5, 6, 7, 8, 9}[i%9]); x.Model != want {
			t.Fatalf("entry %d is %s, want %s", i, x.Model, want)
		}
	}
	if err := db.Verify(); err != nil {
		t.Error(err)
	}
}
