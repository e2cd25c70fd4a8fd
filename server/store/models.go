package store

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"slices"
	"time"

	"weightwarden/internal/api"
)

// ArtifactFingerprint is a registered artifact with its encoded fingerprint.
type ArtifactFingerprint struct {
	api.Artifact
	Model       string
	Version     string
	Kind        string
	Fingerprint []byte
}

// PutModel adds a model or changes its description. Its kind cannot change. With owners,
// one that is there must belong to one of them.
func (s *Store) PutModel(ctx context.Context, by Actor, m api.Model, owners ...string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		var kind, owner string
		err := tx.queryRow(ctx, "SELECT kind, owner FROM model WHERE name = ?", m.Name).Scan(&kind, &owner)
		if err == nil && len(owners) > 0 && !slices.Contains(owners, owner) {
			return fmt.Errorf("model %.100q belongs to %.100q: %w", m.Name, owner, ErrConflict)
		}
		if err == nil && kind != m.Kind {
			return fmt.Errorf("model %.100q is of kind %s: %w", m.Name, kind, ErrConflict)
		}
		if err != nil && err != sql.ErrNoRows {
			return err
		}
		_, err = tx.exec(ctx, `INSERT INTO model (name, kind, owner, tier, regulated, note, created) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, tier = excluded.tier, regulated = excluded.regulated, note = excluded.note`,
			m.Name, m.Kind, m.Owner, m.Tier, boolInt(m.Regulated), m.Note, micros(s.now()))
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "model.put", m.Name, map[string]any{"kind": m.Kind, "tier": m.Tier, "owner": m.Owner})
	})
}

// ModelOwner returns who owns a model, or ErrNotFound.
func (s *Store) ModelOwner(ctx context.Context, name string) (string, error) {
	var owner string
	err := s.queryRow(ctx, "SELECT owner FROM model WHERE name = ?", name).Scan(&owner)
	return owner, notFound(err, "model", name)
}

// AddArtifact registers an artifact of a version, which it adds if it is new. The
// same fingerprint again changes nothing: added is false and the id the old one.
func (s *Store) AddArtifact(ctx context.Context, by Actor, a ArtifactFingerprint, digest, source string) (id string, added bool, err error) {
	err = s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		id, added = NewID(), false
		var name string
		if err := tx.queryRow(ctx, "SELECT name FROM model WHERE name = ?", a.Model).Scan(&name); err != nil {
			return notFound(err, "model", a.Model)
		}
		_, err := tx.exec(ctx, "INSERT INTO model_version (model, version, source, created) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
			a.Model, a.Version, source, micros(s.now()))
		if err != nil {
			return err
		}
		if err := tx.registered(ctx, by, a.Model, a.Version); err != nil {
			return err
		}
		n, err := tx.exec(ctx, `INSERT INTO artifact (id, model, version, name, format, size, tensors, parameters, content, digest, file_digest, fingerprint, created)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (model, version, digest) DO NOTHING`, id, a.Model, a.Version, a.Name, a.Format, a.Size,
			a.Tensors, a.Parameters, a.Content, digest, a.BLAKE3, a.Fingerprint, micros(s.now()))
		if err != nil {
			return err
		}
		if n == 0 {
			_, err := tx.exec(ctx, "UPDATE artifact SET file_digest = ? WHERE model = ? AND version = ? AND digest = ? AND file_digest = ''", a.BLAKE3, a.Model, a.Version, digest)
			if err != nil {
				return err
			}
			return tx.queryRow(ctx, "SELECT id FROM artifact WHERE model = ? AND version = ? AND digest = ?", a.Model, a.Version, digest).Scan(&id)
		}
		added = true
		if err := tx.registryChanged(ctx); err != nil {
			return err
		}
		return tx.Audit(ctx, by, "artifact.add", id, map[string]any{"model": a.Model, "version": a.Version, "name": a.Name, "content": a.Content, "fingerprint": digest})
	})
	return id, added, err
}

// DeleteModel removes a model with all versions from the registry. Hits on it stay.
func (s *Store) DeleteModel(ctx context.Context, by Actor, name string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		for _, q := range []string{"DELETE FROM artifact WHERE model = ?", "DELETE FROM model_version WHERE model = ?"} {
			if _, err := tx.exec(ctx, q, name); err != nil {
				return err
			}
		}
		n, err := tx.exec(ctx, "DELETE FROM model WHERE name = ?", name)
		if err == nil && n == 0 {
			err = fmt.Errorf("model %.100q: %w", name, ErrNotFound)
		}
		if err != nil {
			return err
		}
		if err := tx.registryChanged(ctx); err != nil {
			return err
		}
		return tx.Audit(ctx, by, "model.delete", name, nil)
	})
}

// registryChanged notes that the newest snapshot does not have everything any more.
func (t *Tx) registryChanged(ctx context.Context) error {
	_, err := t.exec(ctx, "UPDATE registry_revision SET n = n + 1, changed = ? WHERE id = 1", micros(t.s.now()))
	return err
}

// RegistryRevision counts the changes of the registry, and says when the last one was.
func (s *Store) RegistryRevision(ctx context.Context) (n int64, changed time.Time, err error) {
	var at int64
	err = s.queryRow(ctx, "SELECT n, changed FROM registry_revision WHERE id = 1").Scan(&n, &at)
	return n, fromMicros(at), err
}

// Model returns one model with its versions and artifacts.
func (s *Store) Model(ctx context.Context, name string) (api.Model, error) {
	models, err := s.models(ctx, "WHERE name = ?", name)
	if err != nil {
		return api.Model{}, err
	}
	if len(models) == 0 {
		return api.Model{}, fmt.Errorf("model %.100q: %w", name, ErrNotFound)
	}
	return models[0], nil
}

// Models lists models by name after a given one, with versions and artifacts.
func (s *Store) Models(ctx context.Context, after string, limit int) ([]api.Model, error) {
	return s.models(ctx, "WHERE name > ? ORDER BY name LIMIT ?", after, limit)
}

func (s *Store) models(ctx context.Context, where string, args ...any) ([]api.Model, error) {
	rows, err := s.query(ctx, "SELECT name, kind, owner, tier, regulated, note, created FROM model "+where, args...)
	models, err := collect(rows, err, func(r *sql.Rows) (api.Model, error) {
		var m api.Model
		var regulated, created int64
		err := r.Scan(&m.Name, &m.Kind, &m.Owner, &m.Tier, &regulated, &m.Note, &created)
		m.Regulated, m.Created = regulated != 0, fromMicros(created)
		return m, err
	})
	for i := range models {
		if models[i].Versions, err = s.versions(ctx, models[i].Name); err != nil {
			return nil, err
		}
	}
	return models, err
}

func (s *Store) versions(ctx context.Context, model string) ([]api.ModelVersion, error) {
	rows, err := s.query(ctx, "SELECT version, source, created FROM model_version WHERE model = ? ORDER BY created, version", model)
	versions, err := collect(rows, err, func(r *sql.Rows) (api.ModelVersion, error) {
		v := api.ModelVersion{Artifacts: []api.Artifact{}}
		var created int64
		err := r.Scan(&v.Version, &v.Source, &created)
		v.Created = fromMicros(created)
		return v, err
	})
	if err != nil {
		return nil, err
	}
	type row struct {
		version string
		a       api.Artifact
	}
	rows, err = s.query(ctx, "SELECT version, id, name, format, size, tensors, parameters, content, file_digest FROM artifact WHERE model = ? ORDER BY id", model)
	arts, err := collect(rows, err, func(r *sql.Rows) (row, error) {
		var x row
		err := r.Scan(&x.version, &x.a.ID, &x.a.Name, &x.a.Format, &x.a.Size, &x.a.Tensors, &x.a.Parameters, &x.a.Content, &x.a.BLAKE3)
		return x, err
	})
	for _, x := range arts {
		for i := range versions {
			if versions[i].Version == x.version {
				versions[i].Artifacts = append(versions[i].Artifacts, x.a)
			}
		}
	}
	return versions, err
}

// RegisteredArtifacts lists every registered artifact without its fingerprint, in order of registration.
func (s *Store) RegisteredArtifacts(ctx context.Context) ([]ArtifactFingerprint, error) {
	rows, err := s.query(ctx, `SELECT a.id, a.model, a.version, m.kind, a.name, a.format, a.size, a.tensors, a.parameters, a.content
		FROM artifact a JOIN model m ON m.name = a.model ORDER BY a.id`)
	return collect(rows, err, func(r *sql.Rows) (ArtifactFingerprint, error) {
		var a ArtifactFingerprint
		return a, r.Scan(&a.ID, &a.Model, &a.Version, &a.Kind, &a.Name, &a.Format, &a.Size, &a.Tensors, &a.Parameters, &a.Content)
	})
}

// Fingerprint returns the encoded fingerprint of an artifact, or ErrNotFound.
func (s *Store) Fingerprint(ctx context.Context, artifact string) ([]byte, error) {
	var b []byte
	err := s.queryRow(ctx, "SELECT fingerprint FROM artifact WHERE id = ?", artifact).Scan(&b)
	return b, notFound(err, "artifact", artifact)
}

// Snapshot is one published epoch of the registry.
type Snapshot struct {
	Epoch    int64
	Created  time.Time
	Expires  time.Time
	Entries  int64
	Digest   string // BLAKE3 of the full blob
	Bytes    int64
	Reason   string
	Revision int64           // of the registry; what was registered after it may be missing
	Deltas   []SnapshotDelta // that lead to its blob; Snapshots leaves them out
	Manifest []byte          // signed
}

// SnapshotDelta is a blob that makes that of a snapshot out of that of one before.
type SnapshotDelta struct {
	From   int64 // epoch
	Digest string
	Bytes  int64
}

// SnapshotDeltas lists the deltas of an epoch, those from newer ones first.
func (s *Store) SnapshotDeltas(ctx context.Context, epoch int64) ([]SnapshotDelta, error) {
	rows, err := s.query(ctx, "SELECT from_epoch, digest, bytes FROM snapshot_delta WHERE epoch = ? ORDER BY from_epoch DESC", epoch)
	return collect(rows, err, func(r *sql.Rows) (SnapshotDelta, error) {
		var x SnapshotDelta
		return x, r.Scan(&x.From, &x.Digest, &x.Bytes)
	})
}

// CopyBlob writes a stored blob to w and returns its size, or ErrNotFound when it is not there or not all of it.
// Its digest is left to the caller.
func (s *Store) CopyBlob(ctx context.Context, w io.Writer, digest string) (n int64, err error) {
	size, err := s.BlobSize(ctx, digest)
	if err != nil {
		return 0, err
	}
	for part := int64(0); ; part++ {
		b, err := s.BlobPart(ctx, digest, part)
		if err != nil {
			return n, err
		}
		if len(b) == 0 {
			break
		}
		if _, err := w.Write(b); err != nil {
			return n, err
		}
		n += int64(len(b))
	}
	if n != size {
		return n, fmt.Errorf("blob %.100q changed under way: %w", digest, ErrNotFound)
	}
	return n, nil
}

// AddSnapshot stores an epoch with its blobs, by their digests. The blobs go first, a part after the other, so that
// hits need not wait for a large registry. If the epoch exists (another server was faster), or a part was purged
// meanwhile, it returns ErrConflict.
func (s *Store) AddSnapshot(ctx context.Context, snap Snapshot, blobs map[string]*io.SectionReader) error {
	for digest, blob := range blobs {
		if err := s.addBlob(ctx, digest, blob); err != nil {
			return err
		}
	}
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		for digest, blob := range blobs {
			var size sql.NullInt64
			if err := tx.queryRow(ctx, "SELECT SUM(size) FROM blob_part WHERE digest = ?", digest).Scan(&size); err != nil {
				return err
			}
			if size.Int64 != blob.Size() {
				return fmt.Errorf("%d of %d bytes of blob %.100q are left: %w", size.Int64, blob.Size(), digest, ErrConflict)
			}
		}
		n, err := tx.exec(ctx, `INSERT INTO snapshot (epoch, created, expires, entries, digest, bytes, reason, revision, manifest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO NOTHING`, snap.Epoch, micros(snap.Created), micros(snap.Expires), snap.Entries, snap.Digest, snap.Bytes, snap.Reason, snap.Revision, snap.Manifest)
		if err == nil && n == 0 {
			err = fmt.Errorf("epoch %d: %w", snap.Epoch, ErrConflict)
		}
		if err != nil {
			return err
		}
		for _, d := range snap.Deltas {
			if _, err := tx.exec(ctx, "INSERT INTO snapshot_delta (epoch, from_epoch, digest, bytes) VALUES (?, ?, ?, ?)", snap.Epoch, d.From, d.Digest, d.Bytes); err != nil {
				return err
			}
		}
		return tx.Audit(ctx, ServerActor(), "snapshot.publish", fmt.Sprint(snap.Epoch), map[string]any{"entries": snap.Entries, "blake3": snap.Digest})
	})
}

// RenewSnapshot replaces the manifest of an epoch by one with later dates.
func (s *Store) RenewSnapshot(ctx context.Context, snap Snapshot) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "UPDATE snapshot SET created = ?, expires = ?, manifest = ? WHERE epoch = ?", micros(snap.Created), micros(snap.Expires), snap.Manifest, snap.Epoch)
		return err
	})
}

const blobPart = 4 << 20

// addBlob stores the parts of a blob, each in a transaction of its own.
func (s *Store) addBlob(ctx context.Context, digest string, blob *io.SectionReader) error {
	piece := make([]byte, min(blobPart, blob.Size()))
	for part := int64(0); part == 0 || part*blobPart < blob.Size(); part++ {
		piece = piece[:min(blobPart, blob.Size()-part*blobPart)]
		if n, err := blob.ReadAt(piece, part*blobPart); n < len(piece) {
			return err
		}
		err := s.Write(ctx, func(ctx context.Context, tx *Tx) error {
			_, err := tx.exec(ctx, "INSERT INTO blob_part (digest, part, size, bytes) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", digest, part, len(piece), piece)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// BlobSize returns the size of a stored blob.
func (s *Store) BlobSize(ctx context.Context, digest string) (int64, error) {
	var size sql.NullInt64
	if err := s.queryRow(ctx, "SELECT SUM(size) FROM blob_part WHERE digest = ?", digest).Scan(&size); err != nil {
		return 0, err
	}
	if !size.Valid {
		return 0, fmt.Errorf("blob %.100q: %w", digest, ErrNotFound)
	}
	return size.Int64, nil
}

// BlobPart returns a piece of a blob, at most 4 MiB; empty past its end.
func (s *Store) BlobPart(ctx context.Context, digest string, part int64) ([]byte, error) {
	var b []byte
	err := s.queryRow(ctx, "SELECT bytes FROM blob_part WHERE digest = ? AND part = ?", digest, part).Scan(&b)
	if err == sql.ErrNoRows {
		return nil, nil
	}
	return b, err
}

// LatestSnapshot returns the newest epoch, or ErrNotFound.
func (s *Store) LatestSnapshot(ctx context.Context) (Snapshot, error) {
	list, err := s.Snapshots(ctx, 1)
	if err != nil {
		return Snapshot{}, err
	}
	if len(list) == 0 {
		return Snapshot{}, fmt.Errorf("snapshot: %w", ErrNotFound)
	}
	return list[0], nil
}

// Snapshots lists epochs, newest first.
func (s *Store) Snapshots(ctx context.Context, limit int) ([]Snapshot, error) {
	rows, err := s.query(ctx, "SELECT epoch, created, expires, entries, digest, bytes, reason, revision, manifest FROM snapshot ORDER BY epoch DESC LIMIT ?", limit)
	return collect(rows, err, func(r *sql.Rows) (Snapshot, error) {
		var x Snapshot
		var created, expires int64
		err := r.Scan(&x.Epoch, &created, &expires, &x.Entries, &x.Digest, &x.Bytes, &x.Reason, &x.Revision, &x.Manifest)
		x.Created, x.Expires = fromMicros(created), fromMicros(expires)
		return x, err
	})
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
