// Package registry turns the registered fingerprints into snapshots: a .fpdb blob
// and a signed manifest for each epoch, so that endpoints decide alone.
package registry

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/mod/sumdb/note"

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
	Dir    string // for files while an epoch is made, about three times the registry; the system's where it cannot be written
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
	w := &work{store: p.Store, dir: p.Dir}
	defer w.close()
	entries, err := w.build(ctx, last.Digest)
	if err != nil {
		return store.Snapshot{}, err
	}
	snap := store.Snapshot{Epoch: last.Epoch + 1, Entries: int64(entries), Digest: w.next.digest(), Bytes: w.next.size, Reason: reason, Revision: revision}
	blobs := map[string]*io.SectionReader{snap.Digest: w.next.reader()}
	if snap.Deltas, err = p.deltas(ctx, w, blobs); err != nil {
		return store.Snapshot{}, err
	}
	if err := p.sign(ctx, &snap, digest(last.Manifest)); err != nil {
		return store.Snapshot{}, err
	}
	return snap, p.Store.AddSnapshot(ctx, snap, blobs)
}

// Which deltas are made: from the epoch before, and from older ones while the work stays within bounds, where they
// are much smaller than the blob. Who is further behind fetches the blob.
const (
	deltaEpochs = 8
	deltaShare  = 4         // a delta is at most 1/4 of the blob
	deltaMost   = 256 << 20 // bytes of a delta
	deltaWork   = 512 << 20 // bytes of older blobs that are read for one epoch
)

// deltas makes those that lead to the blob that was made and puts them beside it. Deltas spare
// downloads; what cannot be read any more is left out.
func (p *Publisher) deltas(ctx context.Context, w *work, blobs map[string]*io.SectionReader) ([]store.SnapshotDelta, error) {
	before, err := p.Store.Snapshots(ctx, deltaEpochs)
	if err != nil {
		return nil, err
	}
	next, unmap, err := index.MapFile(w.next.file)
	if err != nil {
		return nil, err
	}
	defer unmap()
	var out []store.SnapshotDelta
	done := int64(0)
	for i, b := range before {
		if b.Digest == w.next.digest() || i > 0 && done+b.Bytes > deltaWork {
			continue
		}
		d, err := w.deltaFrom(ctx, b.Digest, next)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			done += b.Bytes
		}
		if d != nil {
			name := digest(d)
			blobs[name] = io.NewSectionReader(bytes.NewReader(d), 0, int64(len(d)))
			out = append(out, store.SnapshotDelta{From: b.Epoch, Digest: name, Bytes: int64(len(d))})
		}
	}
	return out, nil
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
