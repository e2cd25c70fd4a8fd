package registry

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/zeebo/blake3"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/index"
	"weightwarden/internal/snapshot"
	"weightwarden/server/store"
)

// partBytes is how much of encoded fingerprints is decoded at a time.
const partBytes = 32 << 20

// work makes an epoch's registry out of that of the epoch before: what is gone is marked, what is new is put behind,
// and everything is mapped from files, so that time and memory follow the change and not the registry
// (docs/decisions/0720).
type work struct {
	store *store.Store
	dir   string
	base  *blobFile // the blob before, nil where there is none
	next  *blobFile
	files []*blobFile
}

// build makes the registry of everything that is registered now and returns how many artifacts it has.
func (w *work) build(ctx context.Context, before string) (int, error) {
	db, err := w.last(ctx, before)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	spill, err := w.create()
	if err != nil {
		return 0, err
	}
	if err := w.update(ctx, db, spill); err != nil {
		return 0, err
	}
	if w.next, err = w.create(); err != nil {
		return 0, err
	}
	_, err = db.WriteTo(w.next)
	return db.Len(), err
}

// last opens the registry of the epoch before. One that is not there any more, or was made by an earlier program, is
// made from the start.
func (w *work) last(ctx context.Context, blob string) (*index.DB, error) {
	if blob == "" {
		return index.New(), nil
	}
	f, err := w.fetch(ctx, blob)
	if errors.Is(err, store.ErrNotFound) {
		return index.New(), nil
	}
	if err != nil {
		return nil, err
	}
	w.base = f
	db, err := index.OpenFile(f.file)
	if errors.Is(err, index.ErrRegistry) {
		return index.New(), nil
	}
	if err != nil {
		return nil, err
	}
	if !db.Complete() {
		return index.New(), db.Close()
	}
	return db, nil
}

// update takes out what is not registered any more and adds what is new.
func (w *work) update(ctx context.Context, db *index.DB, spill *blobFile) error {
	list, err := w.store.RegisteredArtifacts(ctx)
	if err != nil {
		return err
	}
	missing := make(map[string]bool, len(list))
	for i := range list {
		missing[list[i].ID] = true
	}
	db.Keep(func(e *index.Entry) bool {
		wanted := missing[e.ID]
		delete(missing, e.ID)
		return wanted
	})
	var part []index.Entry
	size := 0
	flush := func() error {
		if err := db.Append(part...); err != nil {
			return err
		}
		part, size = nil, 0
		return db.Spill(spill.file)
	}
	for i := range list {
		if !missing[list[i].ID] {
			continue
		}
		e, n, err := w.entry(ctx, &list[i])
		if errors.Is(err, store.ErrNotFound) { // deleted meanwhile
			continue
		}
		if err != nil {
			return err
		}
		part, size = append(part, e), size+n
		if size >= partBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(part) == 0 {
		return nil
	}
	return flush()
}

// entry reads an artifact's fingerprint, and returns its encoded size too.
func (w *work) entry(ctx context.Context, a *store.ArtifactFingerprint) (index.Entry, int, error) {
	encoded, err := w.store.Fingerprint(ctx, a.ID)
	if err != nil {
		return index.Entry{}, 0, err
	}
	fp, err := fingerprint.Decode(encoded)
	if err != nil {
		return index.Entry{}, 0, fmt.Errorf("artifact %s of %.100q: %w", a.ID, a.Model, err)
	}
	e := index.Entry{ID: a.ID, Model: a.Model, Version: a.Version, Kind: a.Kind, Artifact: a.Name, Fingerprint: fp, Size: a.Size, Tensors: a.Tensors, Parameters: a.Parameters}
	if a.Content != "" {
		if e.Content, err = fingerprint.ParseDigest(a.Content); err != nil {
			return index.Entry{}, 0, fmt.Errorf("artifact %s of %.100q: %w", a.ID, a.Model, err)
		}
	}
	return e, len(encoded), nil
}

// deltaFrom makes the delta that leads from a stored blob to what was made; nil where the blob is not there any more
// or the delta would be too large.
func (w *work) deltaFrom(ctx context.Context, blob string, next []byte) ([]byte, error) {
	f := w.base
	if f == nil || f.digest() != blob {
		var err error
		f, err = w.fetch(ctx, blob)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		defer f.file.Close()
	}
	base, unmap, err := index.MapFile(f.file)
	if err != nil {
		return nil, err
	}
	return snapshot.MakeDelta(base, next, min(len(next)/deltaShare, deltaMost)), unmap()
}

// fetch copies a stored blob into a file; it is ErrNotFound, too, when what is stored is not what it was.
func (w *work) fetch(ctx context.Context, blob string) (*blobFile, error) {
	f, err := w.create()
	if err != nil {
		return nil, err
	}
	n, err := w.store.CopyBlob(ctx, f, blob)
	if err == nil && (n == 0 || f.digest() != blob) {
		err = fmt.Errorf("blob %.100q was changed in the database: %w", blob, store.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (w *work) create() (*blobFile, error) {
	const name = "publishing-*"
	f, err := os.CreateTemp(w.dir, name)
	if err != nil { // the folder may hold keys only, mounted read-only
		var other error
		if f, other = os.CreateTemp("", name); other != nil {
			return nil, errors.Join(err, other)
		}
	}
	// Without a name nothing is left of it, however this program ends. Where that cannot be, close removes it.
	_ = os.Remove(f.Name())
	out := &blobFile{file: f, hash: blake3.New()}
	w.files = append(w.files, out)
	return out, nil
}

// close gives everything back.
func (w *work) close() {
	for _, f := range w.files {
		_ = f.file.Close() // nobody reads it any more
		_ = os.Remove(f.file.Name())
	}
}

// blobFile is written once, from its start, and then read.
type blobFile struct {
	file *os.File
	hash *blake3.Hasher
	size int64
}

// Write puts bytes at the end.
func (f *blobFile) Write(b []byte) (int, error) {
	n, err := f.file.Write(b)
	f.hash.Write(b[:n])
	f.size += int64(n)
	return n, err
}

func (f *blobFile) digest() string { return hex.EncodeToString(f.hash.Sum(nil)) }

func (f *blobFile) reader() *io.SectionReader { return io.NewSectionReader(f.file, 0, f.size) }
