package store_test

import (
	"testing"

	"weightwarden/internal/api"
	"weightwarden/server/store"
)

// What an agent says is judged again by the registry of the moment.
func testSecondOpinion(t *testing.T, s *store.Store) {
	ctx := t.Context()
	add := func(model, version, kind, content string) {
		t.Helper()
		if err := s.PutModel(ctx, actor(), api.Model{Name: model, Kind: kind, Tier: 1}); err != nil {
			t.Fatal(err)
		}
		a := store.ArtifactFingerprint{Artifact: api.Artifact{Name: "f", Content: content}, Model: model, Version: version, Fingerprint: []byte("x")}
		if _, _, err := s.AddArtifact(ctx, actor(), a, model+version+content, ""); err != nil {
			t.Fatal(err)
		}
	}
	add("aurora", "3", api.KindProtected, "c3")
	add("aurora", "4", api.KindProtected, "c4")
	add("base", "1", api.KindPublic, "pub")
	for i, tc := range []struct {
		name           string
		verdict        api.Word
		model, version string
		content        string
		want           string
		alerts         int // more than before
	}{
		{"right", api.Identical, "aurora", "3", "c3", store.OpinionAgrees, 1},
		{"other version", api.Repackaged, "aurora", "3", "c4", store.OpinionOther, 0},
		{"no such content", api.Identical, "aurora", "3", "cx", store.OpinionUnconfirmed, 0},
		{"derived has its own content", api.Derived, "aurora", "3", "cx", store.OpinionNone, 0},
		{"not registered", api.Derived, "ghost", "1", "", store.OpinionUnregistered, 1},
		{"unread but known", api.Inconclusive, "", "", "c4", store.OpinionMissed, 1},
		{"unread and unknown", api.Inconclusive, "", "", "cx", store.OpinionNone, 0},
		{"public", api.PublicBase, "base", "1", "pub", store.OpinionAgrees, 0},
		{"called public", api.PublicBase, "base", "1", "c3", store.OpinionMissed, 0}, // joins the first alert
	} {
		before := alertsOf(t, s)
		h := hit(uint64(i + 1))
		h.Verdict.Verdict, h.Verdict.Model, h.Verdict.ModelVersion, h.Verdict.Digests = tc.verdict, tc.model, tc.version, &api.Digests{Content: tc.content}
		if _, err := s.AddHits(ctx, "a1", []api.Hit{h}, always(2)); err != nil {
			t.Fatal(err)
		}
		hits, err := s.Hits(ctx, store.HitFilter{Limit: 1})
		if err != nil || hits[0].Opinion != tc.want {
			t.Errorf("%s: %q (%s), want %q, %v", tc.name, hits[0].Opinion, hits[0].OpinionText, tc.want, err)
		}
		if got := alertsOf(t, s) - before; got != tc.alerts {
			t.Errorf("%s: %d new alerts, want %d", tc.name, got, tc.alerts)
		}
		full, err := s.Hit(ctx, hits[0].ID)
		if err != nil || full.Body.Verdict.Verdict != tc.verdict {
			t.Errorf("%s: the agent's words are gone: %+v, %v", tc.name, full.Body.Verdict, err)
		}
	}
	if hits, err := s.Hits(ctx, store.HitFilter{Limit: 20, Opinion: "disagrees"}); err != nil || len(hits) != 5 {
		t.Errorf("%d disagree, %v", len(hits), err)
	}
}

func alertsOf(t *testing.T, s *store.Store) int {
	t.Helper()
	list, err := s.Alerts(t.Context(), store.AlertFilter{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
