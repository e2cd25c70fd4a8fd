package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"

	"weightwarden/internal/api"
	"weightwarden/server/store"
	"weightwarden/server/store/storetest"
)

func actor() store.Actor { return store.Actor{Kind: "token", ID: "test", Name: "test"} }

func always(severity int) func(*api.Hit, int) int {
	return func(*api.Hit, int) int { return severity }
}

func hit(seq uint64) api.Hit {
	return api.Hit{SchemaVersion: 1, AgentID: "a1", Epoch: "e1", Seq: seq, ObservedAt: time.Unix(1700000000, 0).UTC(), Event: "write",
		Host: api.Host{Name: "gpu-7"}, User: api.User{Name: "mallory"}, Destination: api.Destination{Class: "removable"},
		Process: &api.Process{PID: 7, Name: "cp", Exe: "/usr/bin/cp"},
		Verdict: api.Verdict{Path: "/media/usb/holiday%.jpg", Verdict: api.Identical, Model: "aurora", ModelVersion: "3", Kind: api.KindProtected,
			Coverage: api.Coverage{Bytes: 0.5}, Digests: &api.Digests{Content: "abcd"}}}
}

// The conformance suite: what every engine must do.
func TestStore(t *testing.T) {
	storetest.Each(t, []storetest.Case{
		{Name: "Tokens", Run: testTokens},
		{Name: "Accounts", Run: testAccounts},
		{Name: "Attempts", Run: testAttempts},
		{Name: "Passkeys", Run: testPasskeys},
		{Name: "EnrolAndClones", Run: testEnrolAndClones},
		{Name: "Registry", Run: testRegistry},
		{Name: "SnapshotBlobs", Run: testSnapshotBlobs},
		{Name: "LargeBlobsAreKeptFewer", Run: testLargeBlobsAreKeptFewer},
		{Name: "HitsBecomeAlertsOnce", Run: testHitsBecomeAlertsOnce},
		{Name: "SecondOpinion", Run: testSecondOpinion},
		{Name: "Retention", Run: testRetention},
		{Name: "RetentionOfRestrictedCases", Run: testRetentionOfRestrictedCases},
		{Name: "LongText", Run: testLongText},
		{Name: "Fleet", Run: testFleet},
		{Name: "Sweeps", Run: testSweeps},
		{Name: "Console", Run: testConsole},
		{Name: "Reconcile", Run: testReconcile},
		{Name: "AuthorisedCopiesMakeNoAlert", Run: testAuthorisedCopiesMakeNoAlert},
		{Name: "AuditTreeCoversEveryChange", Run: testAuditTreeCoversEveryChange},
		{Name: "Checkpoints", Run: testCheckpoints},
		{Name: "Refusals", Run: testRefusals},
		{Name: "FailedJobsDoNotHarmOthers", Run: testFailedJobsDoNotHarmOthers},
	})
}

func testTokens(t *testing.T, s *store.Store) {
	ctx := t.Context()
	secret := []byte("secret")
	tok, err := s.AddToken(ctx, actor(), store.Token{Name: "ci", Roles: []string{"registrar"}}, secret)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.TokenBySecret(ctx, secret)
	if err != nil || got.ID != tok.ID || !cmp.Equal(got.Roles, []string{"registrar"}) {
		t.Fatalf("TokenBySecret = %+v, %v", got, err)
	}
	if _, err := s.TokenBySecret(ctx, []byte("other")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("other secret: %v", err)
	}
	sess := store.Session{Subject: tok.ID, Name: "ci", Roles: tok.Roles, TokenID: tok.ID, CSRF: "x", Expires: time.Now().Add(time.Hour)}
	if err := s.AddSession(ctx, actor(), sess, []byte("cookie")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SessionByCookie(ctx, []byte("cookie"), time.Hour); err != nil {
		t.Error(err)
	}
	if err := s.RevokeToken(ctx, actor(), tok.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TokenBySecret(ctx, secret); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("revoked token: %v", err)
	}
	if _, err := s.SessionByCookie(ctx, []byte("cookie"), time.Hour); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("session of a revoked token: %v", err)
	}
	expired := store.Token{Name: "old", Roles: []string{"reader"}, Expires: time.Now().Add(-time.Minute)}
	if _, err := s.AddToken(ctx, actor(), expired, []byte("old")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TokenBySecret(ctx, []byte("old")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("expired token: %v", err)
	}
}

func testEnrolAndClones(t *testing.T, s *store.Store) {
	ctx := t.Context()
	if _, err := s.AddEnrolToken(ctx, actor(), store.EnrolToken{UsesLeft: 1, Expires: time.Now().Add(time.Hour), Labels: map[string]string{"site": "x"}}, []byte("e")); err != nil {
		t.Fatal(err)
	}
	a, err := s.Enrol(ctx, []byte("e"), store.Agent{ID: "a1", Host: "gpu-7", MachineID: "m1", CertSerial: "1"}, "127.0.0.1")
	if err != nil || a.Labels["site"] != "x" {
		t.Fatalf("Enrol = %+v, %v", a, err)
	}
	if _, err := s.Enrol(ctx, []byte("e"), store.Agent{ID: "a2"}, ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("second use of a single-use token: %v", err)
	}
	beat := func(machine, boot string) error {
		return s.Heartbeat(ctx, "a1", &api.Heartbeat{Host: api.Host{Name: "gpu-7", Machine: machine, BootID: boot}, Snapshot: 3, Gaps: []api.Gap{{ID: "g"}}})
	}
	for _, boot := range []string{"b1", "b1", "b2", "b2"} {
		if err := beat("m1", boot); err != nil {
			t.Fatalf("boot %s: %v", boot, err)
		}
	}
	if a, err := s.Agent(ctx, "a1"); err != nil || a.Snapshot != 3 || a.Gaps != 1 || a.Heartbeat == nil {
		t.Errorf("agent %+v, %v", a, err)
	}
	if err := beat("m1", "b1"); !errors.Is(err, store.ErrCloned) {
		t.Errorf("boots take turns: %v, want ErrCloned", err)
	}
	if a, err := s.Agent(ctx, "a1"); err != nil || a.State != store.AgentCloned {
		t.Errorf("state %q, %v", a.State, err)
	}
	if err := beat("m1", "b3"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("heartbeat of a cloned agent: %v", err)
	}
}

func testRegistry(t *testing.T, s *store.Store) {
	ctx := t.Context()
	m := api.Model{Name: "aurora", Kind: api.KindProtected, Tier: 1, Owner: "ml"}
	if err := s.PutModel(ctx, actor(), m); err != nil {
		t.Fatal(err)
	}
	m.Kind = api.KindPublic
	if err := s.PutModel(ctx, actor(), m); !errors.Is(err, store.ErrConflict) {
		t.Errorf("changed kind: %v", err)
	}
	art := store.ArtifactFingerprint{Artifact: api.Artifact{Name: "a.safetensors", Format: "safetensors", Size: 9, Content: "cc"}, Model: "aurora", Version: "3", Fingerprint: []byte{1, 2}}
	id, added, err := s.AddArtifact(ctx, actor(), art, "dd", "git:abc")
	if err != nil || !added {
		t.Fatal(added, err)
	}
	again, added, err := s.AddArtifact(ctx, actor(), art, "dd", "git:abc")
	if err != nil || added || again != id {
		t.Errorf("same again: id %s (want %s), added %v, %v", again, id, added, err)
	}
	got, err := s.Model(ctx, "aurora")
	if err != nil || len(got.Versions) != 1 || len(got.Versions[0].Artifacts) != 1 || got.Versions[0].Source != "git:abc" {
		t.Errorf("model %+v, %v", got, err)
	}
	list, err := s.RegisteredArtifacts(ctx)
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Kind != api.KindProtected {
		t.Errorf("artifacts %+v, %v", list, err)
	}
	if fp, err := s.Fingerprint(ctx, id); err != nil || !cmp.Equal(fp, []byte{1, 2}) {
		t.Errorf("fingerprint %v, %v", fp, err)
	}
	if _, err := s.Fingerprint(ctx, "none"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("fingerprint of nothing: %v", err)
	}
	if err := s.DeleteModel(ctx, actor(), "aurora"); err != nil {
		t.Error(err)
	}
	if _, err := s.Model(ctx, "aurora"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted model: %v", err)
	}
}

func testSnapshotBlobs(t *testing.T, s *store.Store) {
	ctx := t.Context()
	blob := make([]byte, 4<<20+5)
	blob[len(blob)-1] = 9
	snap := store.Snapshot{Epoch: 1, Created: time.Now(), Expires: time.Now().Add(time.Hour), Digest: "bb", Manifest: []byte("m")}
	if err := s.AddSnapshot(ctx, snap, blobs("bb", blob)); err != nil {
		t.Fatal(err)
	}
	if err := s.AddSnapshot(ctx, snap, nil); !errors.Is(err, store.ErrConflict) {
		t.Errorf("same epoch twice: %v", err)
	}
	if n, err := s.BlobSize(ctx, "bb"); err != nil || n != int64(len(blob)) {
		t.Errorf("size %d, %v", n, err)
	}
	last, err := s.BlobPart(ctx, "bb", 1)
	if err != nil || len(last) != 5 || last[4] != 9 {
		t.Errorf("part 1: %v, %v", last, err)
	}
	if _, err := s.BlobSize(ctx, "cc"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown blob: %v", err)
	}
	var out bytes.Buffer
	if n, err := s.CopyBlob(ctx, &out, "bb"); err != nil || n != int64(len(blob)) || !bytes.Equal(out.Bytes(), blob) {
		t.Errorf("copied %d bytes, %v", n, err)
	}
	if _, err := s.CopyBlob(ctx, &out, "cc"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown blob copied: %v", err)
	}
	// A blob that is there under the same name and is no longer whole, or was another, makes no epoch.
	snap.Epoch = 2
	if err := s.AddSnapshot(ctx, snap, blobs("bb", blob[:9])); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a blob of another size: %v", err)
	}
	snap.Digest = "ee"
	if err := s.AddSnapshot(ctx, snap, blobs("ee", nil)); err != nil {
		t.Errorf("empty blob: %v", err)
	}
}

func blobs(name string, b []byte) map[string]*io.SectionReader {
	return map[string]*io.SectionReader{name: io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))}
}

// Twenty epochs keep their blobs, but of large ones few.
func testLargeBlobsAreKeptFewer(t *testing.T, s *store.Store) {
	ctx := t.Context()
	for i := range int64(30) {
		snap := store.Snapshot{Epoch: i + 1, Created: time.Now(), Expires: time.Now().Add(time.Hour), Digest: fmt.Sprint(i + 1), Bytes: 1 << 20, Manifest: []byte("m")}
		if i >= 24 {
			snap.Bytes = 1 << 30
		}
		if i == 29 {
			snap.Bytes = 5 << 30
		}
		if err := s.AddSnapshot(ctx, snap, blobs(snap.Digest, []byte{1})); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Purge(ctx, store.ServerActor(), time.Now()); err != nil {
			t.Fatal(err)
		}
		left := 0
		for e := range i + 1 {
			if _, err := s.BlobSize(ctx, fmt.Sprint(e+1)); err == nil {
				left++
			}
		}
		want := min(20, i+1)
		switch { // once the large ones take 4 GiB, the two newest at least
		case i == 29:
			want = 2
		case i >= 27:
			want = 4
		}
		if int64(left) != want {
			t.Errorf("after epoch %d: %d blobs, want %d", i+1, left, want)
		}
	}
}

func testHitsBecomeAlertsOnce(t *testing.T, s *store.Store) {
	ctx := t.Context()
	if n, err := s.AddHits(ctx, "a1", []api.Hit{hit(1), hit(2)}, always(3)); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	if n, err := s.AddHits(ctx, "a1", []api.Hit{hit(2), hit(3)}, always(2)); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if n, err := s.AddHits(ctx, "a1", []api.Hit{hit(4)}, always(4)); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	alerts, err := s.Alerts(ctx, store.AlertFilter{Limit: 10, State: "active"})
	if err != nil || len(alerts) != 1 || alerts[0].Hits != 4 || alerts[0].Severity != 2 {
		t.Fatalf("alerts %+v, %v", alerts, err)
	}
	closed := store.AlertClosed
	if err := s.ChangeAlert(ctx, actor(), alerts[0].ID, store.AlertChange{State: &closed}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddHits(ctx, "a1", []api.Hit{hit(5)}, always(1)); err != nil {
		t.Fatal(err)
	}
	counts, err := s.AlertCounts(ctx)
	if err != nil || counts != [5]int{1: 1} {
		t.Errorf("counts %v, %v", counts, err)
	}
	for text, want := range map[string]int{"ABCD": 5, "day%": 5, "da_%": 0, "mallory": 5, "nobody": 0} {
		if hits, err := s.Hits(ctx, store.HitFilter{Limit: 10, Text: text}); err != nil || len(hits) != want {
			t.Errorf("search %q: %d hits, want %d, %v", text, len(hits), want, err)
		}
	}
	hits, err := s.Hits(ctx, store.HitFilter{Limit: 1, Host: "gpu-7", Model: "aurora", Verdict: "IDENTICAL"})
	if err != nil || len(hits) != 1 {
		t.Fatal(hits, err)
	}
	one, err := s.Hit(ctx, hits[0].ID)
	if want := hit(5); err != nil || cmp.Diff(&want, one.Body) != "" {
		t.Errorf("body differs: %s %v", cmp.Diff(&want, one.Body), err)
	}
	if next, err := s.Hits(ctx, store.HitFilter{Limit: 10, Before: hits[0].ID}); err != nil || len(next) != 4 {
		t.Errorf("next page has %d, %v", len(next), err)
	}
}

func testAuthorisedCopiesMakeNoAlert(t *testing.T, s *store.Store) {
	ctx := t.Context()
	if err := s.PutModel(ctx, actor(), api.Model{Name: "aurora", Kind: api.KindProtected, Tier: 1}); err != nil {
		t.Fatal(err)
	}
	a, err := s.AddAuthorisation(ctx, actor(), store.Authorisation{Model: "aurora", Host: "gpu-*", Path: "/media/**", Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	count := func() int {
		alerts, err := s.Alerts(ctx, store.AlertFilter{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return len(alerts)
	}
	add := func(seq uint64) {
		if _, err := s.AddHits(ctx, "a1", []api.Hit{hit(seq)}, always(1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.ApproveAuthorisation(ctx, actor(), a.ID); !errors.Is(err, store.ErrConflict) {
		t.Errorf("own approval: %v", err)
	}
	// A token that the same person made, or one of his tokens did, is the same person.
	own, err := s.AddToken(ctx, actor(), store.Token{Name: "own", Roles: []string{"admin"}}, []byte("own"))
	if err != nil {
		t.Fatal(err)
	}
	owns, err := s.AddToken(ctx, store.Actor{Kind: "token", ID: own.ID}, store.Token{Name: "own again", Roles: []string{"approver"}}, []byte("owns"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{own.ID, owns.ID} {
		if err := s.ApproveAuthorisation(ctx, store.Actor{Kind: "token", ID: id}, a.ID); !errors.Is(err, store.ErrConflict) {
			t.Errorf("approval by an own token: %v", err)
		}
	}
	// Tokens of the server's first token are people, where there are no accounts.
	first, err := s.AddToken(ctx, store.ServerActor(), store.Token{Name: "first", Roles: []string{"admin"}}, []byte("first"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.AddToken(ctx, store.Actor{Kind: "token", ID: first.ID}, store.Token{Name: "second", Roles: []string{"approver"}}, []byte("second"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.AddAuthorisation(ctx, store.Actor{Kind: "token", ID: first.ID}, store.Authorisation{Model: "aurora", Host: "other", Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ApproveAuthorisation(ctx, store.Actor{Kind: "token", ID: second.ID}, b.ID); err != nil {
		t.Errorf("approval by a second token: %v", err)
	}
	if err := s.ApproveAuthorisation(ctx, store.Actor{ID: "second"}, a.ID); err != nil {
		t.Fatal(err)
	}
	add(1)
	if count() != 0 {
		t.Error("an authorised copy made an alert")
	}
	if copies, err := s.Copies(ctx, "aurora", 10); err != nil || len(copies) != 1 || copies[0].Authorised != a.ID {
		t.Errorf("copies %+v, %v", copies, err)
	}
	if err := s.RevokeAuthorisation(ctx, actor(), a.ID); err != nil {
		t.Fatal(err)
	}
	add(2)
	if count() != 1 {
		t.Error("no alert after the authorisation ended")
	}
}

func testAuditTreeCoversEveryChange(t *testing.T, s *store.Store) {
	ctx := t.Context()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := s.PutModel(ctx, actor(), api.Model{Name: fmt.Sprint("m", i), Kind: api.KindProtected}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	tree, err := s.AuditTree(ctx)
	if err != nil || tree.N != 20 {
		t.Fatalf("tree %+v, %v", tree, err)
	}
	leaves, err := s.AuditLeaves(ctx, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.AuditInclusion(ctx, 7, 20)
	if err != nil {
		t.Fatal(err)
	}
	if err := tlog.CheckRecord(p, 20, tree.Hash, 7, tlog.RecordHash(leaves[7])); err != nil {
		t.Error(err)
	}
}

// A failed change undoes itself and nobody else's, though they share a commit.
func testFailedJobsDoNotHarmOthers(t *testing.T, s *store.Store) {
	ctx := t.Context()
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			kind := api.KindProtected
			err := s.PutModel(ctx, actor(), api.Model{Name: fmt.Sprint("m", i), Kind: kind})
			if err != nil {
				t.Error(err)
			}
			if err := s.RevokeToken(ctx, actor(), fmt.Sprint("none", i)); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("revoke: %v", err)
			}
		})
	}
	wg.Wait()
	if models, err := s.Models(ctx, "", 100); err != nil || len(models) != 60 {
		t.Errorf("%d models, %v", len(models), err)
	}
}

// Paths of any length are kept; PostgreSQL's indexes hold 2.7 kB.
func testLongText(t *testing.T, s *store.Store) {
	ctx := t.Context()
	for seq := uint64(1); seq <= 2; seq++ {
		h := hit(seq)
		var long strings.Builder
		for i := range 8000 {
			fmt.Fprintf(&long, "/%x", i*i+int(seq))
		}
		h.Verdict.Path = long.String()
		if n, err := s.AddHits(ctx, "a1", []api.Hit{h}, always(1)); err != nil || n != 1 {
			t.Fatal(n, err)
		}
	}
	if copies, err := s.Copies(ctx, "", 10); err != nil || len(copies) != 2 {
		t.Errorf("%d copies, %v", len(copies), err)
	}
}

func testFleet(t *testing.T, s *store.Store) {
	ctx := t.Context()
	if _, err := s.AddEnrolToken(ctx, actor(), store.EnrolToken{UsesLeft: 3, Expires: time.Now().Add(time.Hour), Labels: map[string]string{}}, []byte("e")); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a1", "a2", "a3"} {
		if _, err := s.Enrol(ctx, []byte("e"), store.Agent{ID: id}, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Heartbeat(ctx, "a1", &api.Heartbeat{Spool: api.SpoolInfo{Pending: 7}}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetAgentState(ctx, actor(), "a2", store.AgentRevoked, "gone"); err != nil {
		t.Fatal(err)
	}
	got, err := s.Fleet(ctx)
	if want := (store.FleetSummary{Active: 2, Revoked: 1, Pending: 7}); err != nil || got != want {
		t.Errorf("fleet %+v, %v; want %+v", got, err, want)
	}
	if list, err := s.Agents(ctx, "a1", 10); err != nil || len(list) != 2 {
		t.Errorf("%d agents after a1, %v", len(list), err)
	}
}

func testSweeps(t *testing.T, s *store.Store) {
	ctx := t.Context()
	id, err := s.AddSweep(ctx, actor(), "aurora", []string{"/srv"}, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddSweep(ctx, actor(), "old", nil, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // an answer may get lost: the order comes again
		got, err := s.OrderSweeps(ctx, "a1", &api.Heartbeat{SentAt: time.Now().Add(-time.Minute)})
		if want := []api.Sweep{{ID: id, Model: "aurora", Paths: []string{"/srv"}}}; err != nil || !cmp.Equal(got, want) {
			t.Fatalf("orders %+v, %v", got, err)
		}
	}
	closed := time.Now()
	hb := &api.Heartbeat{SentAt: time.Now().Add(time.Second), Gaps: []api.Gap{{Cause: "ordered", Closed: &closed, Files: 7}, {Cause: "overflow"}}}
	if got, err := s.OrderSweeps(ctx, "a1", hb); err != nil || len(got) != 0 {
		t.Errorf("orders after the end %+v, %v", got, err)
	}
	if w, err := s.Sweep(ctx, id); err != nil || w.Asked != 1 || w.Done != 1 || w.Files != 7 {
		t.Errorf("sweep %+v, %v", w, err)
	}
}
