package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weightwarden/internal/api"
	"weightwarden/server/store"
)

// register adds a version of a model, with the model.
func register(t *testing.T, s *store.Store, model, version, kind string, tier int) {
	t.Helper()
	if err := s.PutModel(t.Context(), actor(), api.Model{Name: model, Kind: kind, Tier: tier}); err != nil {
		t.Fatal(err)
	}
	a := store.ArtifactFingerprint{Artifact: api.Artifact{Name: "w"}, Model: model, Version: version, Fingerprint: []byte(model + version)}
	if _, _, err := s.AddArtifact(t.Context(), actor(), a, model+version, ""); err != nil {
		t.Fatal(err)
	}
}

// differences are all of them, page by page, as "kind reason what".
func differences(t *testing.T, s *store.Store, f store.DifferenceFilter) []string {
	t.Helper()
	var out []string
	for range 100 {
		list, next, err := s.Differences(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > f.Limit {
			t.Fatalf("%d on a page of %d", len(list), f.Limit)
		}
		for _, d := range list {
			what := d.Path
			if what == "" {
				what = d.Model + " " + d.Version
			}
			out = append(out, d.Kind+" "+d.Reason+" "+what)
		}
		if next == "" {
			slices.Sort(out)
			return out
		}
		f.After = next
	}
	t.Fatal("the pages have no end")
	return nil
}

func testReconcile(t *testing.T, s *store.Store) {
	ctx := t.Context()
	ids := fleetOf(t, s, "gpu-1", "gpu-2")
	register(t, s, "aurora", "3", api.KindProtected, 2)
	register(t, s, "aurora", "4", api.KindProtected, 2) // seen nowhere
	register(t, s, "crown", "3", api.KindProtected, 1)
	register(t, s, "base", "3", api.KindPublic, 0) // nowhere, which is nobody's worry
	allow := func(model, path, program string) store.Authorisation {
		a, err := s.AddAuthorisation(ctx, actor(), store.Authorisation{Model: model, Path: path, Program: program, Reason: "r", Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	allow("aurora", "/srv/**", "")
	allow("aurora", "/opt/**", "/usr/bin/cp")
	allow("aurora", "/backup/**", "")
	allow("crown", "/srv/**", "")
	ended := allow("aurora", "/old/**", "")
	for i, c := range []struct{ host, model, path string }{
		{"gpu-1", "aurora", "/srv/a.bin"},
		{"gpu-1", "aurora", "/opt/b.bin"},
		{"gpu-2", "aurora", "/old/c.bin"},
		{"gpu-2", "aurora", "/home/d.bin"},
		{"gpu-2", "crown", "/srv/e.bin"},
		{"gpu-2", "gone", "/srv/f.bin"},
		{"gpu-2", "base", "/home/g.bin"},
	} {
		copied(t, s, ids[c.host], c.host, "ada", c.model, c.path, uint64(i+1), 3)
	}
	if err := s.RevokeAuthorisation(ctx, actor(), ended.ID); err != nil {
		t.Fatal(err)
	}
	now := []string{"misplaced authorisation_ended /old/c.bin", "misplaced awaits_approval /srv/e.bin", "misplaced never_authorised /home/d.bin", "unregistered model_not_registered /srv/f.bin"}
	later := append([]string{"missing copy_not_seen /opt/b.bin", "missing copy_not_seen /srv/a.bin", "missing permit_unused /backup/**", "missing version_not_seen aurora 4"}, now...)
	slices.Sort(later)
	for _, limit := range []int{1, 2, 3, 100} {
		if diff := cmp.Diff(now, differences(t, s, store.DifferenceFilter{Unseen: time.Hour, Limit: limit})); diff != "" {
			t.Errorf("pages of %d: %s", limit, diff)
		}
		if diff := cmp.Diff(later, differences(t, s, store.DifferenceFilter{Limit: limit})); diff != "" {
			t.Errorf("pages of %d, all unseen: %s", limit, diff)
		}
	}
	if diff := cmp.Diff([]string{"misplaced awaits_approval /srv/e.bin"}, differences(t, s, store.DifferenceFilter{Model: "crown", Kind: store.Misplaced, Limit: 5})); diff != "" {
		t.Error(diff)
	}

	// What is allowed afterwards is in its place; what is gone is no copy any more.
	allow("aurora", "/home/**", "")
	if err := s.RemoveCopy(ctx, actor(), ids["gpu-2"], "/old/c.bin", "ticket 7"); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteModel(ctx, actor(), "crown"); err != nil {
		t.Fatal(err)
	}
	want := []string{"unregistered model_not_registered /srv/e.bin", "unregistered model_not_registered /srv/f.bin"}
	if diff := cmp.Diff(want, differences(t, s, store.DifferenceFilter{Unseen: time.Hour, Limit: 2})); diff != "" {
		t.Error(diff)
	}
}
