// Package registry turns the registered fingerprints into snapshots: a .fpdb blob
// and a signed manifest for each epoch, so that endpoints decide alone.
package registry

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/mod/sumdb/note"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/index"
	"weightwarden/internal/snapshot"
	"weightwarden/server/store"
)

// Lifetime is how long a manifest is good; the server signs anew at half of it.
const Lifetime = 7 * 24 * time.Hour

// maxTries bounds how often an epoch is built again because another server
// published in between.
const maxTries = 5

// Publisher makes snapshots. Its methods are safe for concurrent use.
type Publisher struct {
	Store  *store.Store
	Signer note.Signer
	Now    func() time.Time

	mu sync.Mutex // one build at a time
	// wait joins those who ask while a build runs: one build after it serves all.
	waitMu sync.Mutex
	wait   *turn
}

type turn struct {
	done chan struct{}
	snap store.Snapshot
	err  error
}

// Publish makes an epoch that has everything registered before the call and
// returns it. Callers at the same time share one build.
func (p *Publisher) Publish(ctx context.Context, reason string) (store.Snapshot, error) {
	p.waitMu.Lock()
	t := p.wait
	if t == nil {
		t = &turn{done: make(chan struct{})}
		p.wait = t
		go p.serve(context.WithoutCancel(ctx), t, reason)
	}
	p.waitMu.Unlock()
	select {
	case <-t.done:
		return t.snap, t.err
	case <-ctx.Done():
		return store.Snapshot{}, ctx.Err()
	}
}

func (p *Publisher) serve(ctx context.Context, t *turn, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// From here on a newcomer may have registered something this build misses.
	p.waitMu.Lock()
	p.wait = nil
	p.waitMu.Unlock()
	for try := 1; ; try++ {
		t.snap, t.err = p.build(ctx, reason)
		if !errors.Is(t.err, store.ErrConflict) || try == maxTries {
			break
		}
	}
	close(t.done)
}

func (p *Publisher) build(ctx context.Context, reason string) (store.Snapshot, error) {
	last, err := p.Store.LatestSnapshot(ctx)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Snapshot{}, err
	}
	revision, _, err := p.Store.RegistryRevision(ctx)
	if err != nil {
		return store.Snapshot{}, err
	}
	blob, entries, err := p.blob(ctx)
	if err != nil {
		return store.Snapshot{}, err
	}
	snap := store.Snapshot{Epoch: last.Epoch + 1, Entries: entries, Digest: digest(blob), Bytes: int64(len(blob)), Reason: reason, Revision: revision}
	blobs := map[string][]byte{snap.Digest: blob}
	if snap.Deltas, err = p.deltas(ctx, blob, blobs); err != nil {
		return store.Snapshot{}, err
	}
	if err := p.sign(ctx, &snap, digest(last.Manifest)); err != nil {
		return store.Snapshot{}, err
	}
	return snap, p.Store.AddSnapshot(ctx, snap, blobs)
}

// Which deltas are made: from the newest epochs, where they are much smaller than the
// blob, and while the work stays within bounds. Who is further behind fetches the blob.
const (
	deltaEpochs = 8
	deltaShare  = 4         // a delta is at most 1/4 of the blob
	deltaWork   = 512 << 20 // bytes of older blobs that are read for one epoch
)

// deltas makes those that lead to a blob and puts them beside it. Deltas spare
// downloads; what cannot be read any more is left out.
func (p *Publisher) deltas(ctx context.Context, blob []byte, blobs map[string][]byte) ([]store.SnapshotDelta, error) {
	before, err := p.Store.Snapshots(ctx, deltaEpochs)
	if err != nil {
		return nil, err
	}
	var out []store.SnapshotDelta
	work := int64(deltaWork)
	to := digest(blob)
	for _, b := range before {
		base, err := p.Store.Blob(ctx, b.Digest, work)
		if errors.Is(err, store.ErrNotFound) || err == nil && b.Digest == to {
			continue
		}
		if err != nil {
			return nil, err
		}
		work -= int64(len(base))
		if d := snapshot.MakeDelta(base, blob, len(blob)/deltaShare); d != nil {
			name := digest(d)
			blobs[name] = d
			out = append(out, store.SnapshotDelta{From: b.Epoch, Digest: name, Bytes: int64(len(d))})
		}
	}
	return out, nil
}

func (p *Publisher) blob(ctx context.Context) ([]byte, int64, error) {
	var entries []index.Entry
	err := p.Store.EachFingerprint(ctx, func(a store.ArtifactFingerprint) error {
		fp, err := fingerprint.Decode(a.Fingerprint)
		if err != nil {
			return fmt.Errorf("artifact %s of %.100q: %w", a.ID, a.Model, err)
		}
		e := index.Entry{Model: a.Model, Version: a.Version, Kind: a.Kind, Artifact: a.Name, Fingerprint: fp, Size: a.Size, Tensors: a.Tensors, Parameters: a.Parameters}
		if a.Content != "" {
			if e.Content, err = fingerprint.ParseDigest(a.Content); err != nil {
				return fmt.Errorf("artifact %s of %.100q: %w", a.ID, a.Model, err)
			}
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	db := index.New()
	if err := db.Add(entries...); err != nil {
		return nil, 0, err
	}
	var buf bytes.Buffer
	if _, err := db.WriteTo(&buf); err != nil {
		return nil, 0, err
	}
	return buf.Bytes(), int64(db.Len()), nil
}

func (p *Publisher) sign(ctx context.Context, snap *store.Snapshot, previous string) error {
	tree, err := p.Store.AuditTree(ctx)
	if err != nil {
		return err
	}
	snap.Created = p.Now().UTC().Truncate(time.Microsecond)
	snap.Expires = snap.Created.Add(Lifetime)
	m := &snapshot.Manifest{Epoch: snap.Epoch, Created: snap.Created, Expires: snap.Expires, Previous: previous, Entries: snap.Entries,
		Blobs: []snapshot.Blob{{Kind: snapshot.BlobFull, BLAKE3: snap.Digest, Bytes: snap.Bytes}},
		Audit: fmt.Sprintf("%d %s", tree.N, tree.Hash)}
	for _, d := range snap.Deltas {
		m.Blobs = append(m.Blobs, snapshot.Blob{Kind: snapshot.BlobDelta, From: d.From, BLAKE3: d.Digest, Bytes: d.Bytes})
	}
	snap.Manifest, err = snapshot.SignManifest(m, p.Signer)
	return err
}

// settled is how long the registry must have been left alone before what nobody
// published is published: an import adds a model after the other and wants one epoch.
const settled = 5 * time.Minute

// Ensure publishes a first epoch where there is none, and one for changes that were
// left unpublished, and signs the newest anew when half of its life is over. Call it
// at the start and now and then.
func (p *Publisher) Ensure(ctx context.Context) error {
	last, err := p.Store.LatestSnapshot(ctx)
	if errors.Is(err, store.ErrNotFound) {
		_, err = p.Publish(ctx, "first start")
		return err
	}
	if err != nil {
		return err
	}
	revision, changed, err := p.Store.RegistryRevision(ctx)
	if err != nil {
		return err
	}
	if revision > last.Revision && p.Now().After(changed.Add(settled)) {
		_, err = p.Publish(ctx, "changes that were not published")
		return err
	}
	if p.Now().Before(last.Created.Add(Lifetime / 2)) {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if last.Deltas, err = p.Store.SnapshotDeltas(ctx, last.Epoch); err != nil {
		return err
	}
	if err := p.sign(ctx, &last, digest(last.Manifest)); err != nil {
		return err
	}
	return p.Store.RenewSnapshot(ctx, last)
}

func digest(b []byte) string {
	if b == nil {
		return ""
	}
	sum := blake3.Sum256(b)
	return hex.EncodeToString(sum[:])
}
