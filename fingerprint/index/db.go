package index

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"weightwarden/fingerprint"
)

// Entry is one registered artifact.
type Entry struct {
	ID       string // by which a server knows it; empty in registries made by hand
	Model    string // name
	Version  string
	Kind     string // "protected", "public", "dataset"
	Artifact string // name of the file, for people
	// Fingerprint is nil in what Entries lists; DB.Fingerprint reads it.
	Fingerprint *fingerprint.Fingerprint
	Size        int64
	Tensors     int
	Parameters  int64
	Content     fingerprint.Digest
}

// DB is a registry. Its methods are not safe for concurrent use with Add, Remove
// and Save; Match and the other readers may run side by side.
type DB struct {
	segments []*segment
	removed  map[ref]bool
	mapped   []func() error // what Close releases
}

// ref names an entry: its segment and its place in it.
type ref struct{ segment, entry int }

// New returns an empty registry.
func New() *DB { return &DB{removed: make(map[ref]bool)} }

// ErrRegistry is wrapped by errors of reading a registry.
var ErrRegistry = errors.New("not a valid registry")

// Open maps a registry file. Close releases it.
func Open(path string) (*DB, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	db, err := OpenFile(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return db, nil
}

// OpenFile maps a registry file that is open already; the file may be closed before the registry.
func OpenFile(f *os.File) (*DB, error) {
	b, unmap, err := MapFile(f)
	if err != nil {
		return nil, err
	}
	db, err := Decode(b)
	if err != nil {
		return nil, errors.Join(err, unmap())
	}
	for _, s := range db.segments {
		s.mapped = true
	}
	db.mapped = append(db.mapped, unmap)
	return db, nil
}

// MapFile maps the whole of a regular file that is not empty, read-only, until unmap is called. A registry is
// replaced by renaming and never written in place, so it cannot shrink under the mapping.
func MapFile(f *os.File) (b []byte, unmap func() error, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 || info.Size() != int64(int(info.Size())) {
		return nil, nil, fmt.Errorf("%w: no regular file, or empty", ErrRegistry)
	}
	return mapFile(f, 0, int(info.Size()))
}

// Close releases the file behind an opened registry.
func (db *DB) Close() error {
	if db.mapped == nil {
		return nil
	}
	var err error
	for _, unmap := range db.mapped {
		err = errors.Join(err, unmap())
	}
	db.mapped, db.segments = nil, nil
	return err
}

// Add registers artifacts as one new segment. An artifact of the same model,
// version and name takes the place of the earlier one.
func (db *DB) Add(entries ...Entry) error {
	seg, err := checkedSegment(entries)
	if err != nil {
		return err
	}
	for _, e := range entries {
		db.removeWhere(func(old *Entry) bool {
			return old.Model == e.Model && old.Version == e.Version && old.Artifact == e.Artifact
		})
	}
	db.segments = append(db.segments, seg)
	return nil
}

// Append registers artifacts as one new segment beside all that are there, whatever they are called.
func (db *DB) Append(entries ...Entry) error {
	seg, err := checkedSegment(entries)
	if err == nil {
		db.segments = append(db.segments, seg)
	}
	return err
}

func checkedSegment(entries []Entry) (*segment, error) {
	for i := range entries {
		e := &entries[i]
		if e.Model == "" || e.Version == "" || e.Fingerprint == nil {
			return nil, fmt.Errorf("an entry needs model, version and fingerprint: %.100q %.100q", e.Model, e.Version)
		}
		switch e.Kind {
		case "protected", "public", "dataset":
		default:
			return nil, fmt.Errorf("kind is protected, public or dataset, not %.100q", e.Kind)
		}
	}
	return newSegment(entries)
}

// Remove takes all artifacts of a model's version out, of all versions where
// version is empty, and returns how many there were.
func (db *DB) Remove(model, version string) int {
	return db.removeWhere(func(e *Entry) bool {
		return e.Model == model && (version == "" || e.Version == version)
	})
}

// Keep takes out all artifacts that wanted does not want and returns how many there were. It is asked once of
// each, in order of adding.
func (db *DB) Keep(wanted func(*Entry) bool) int {
	return db.removeWhere(func(e *Entry) bool { return !wanted(e) })
}

// Complete reports whether every segment has all the tables that this program makes: those of registries made
// by earlier ones may lack some, and are slower to look up in.
func (db *DB) Complete() bool {
	for _, s := range db.segments {
		if s.vectors == nil {
			return false
		}
	}
	return true
}

func (db *DB) removeWhere(match func(*Entry) bool) int {
	n := 0
	db.each(func(r ref, e *Entry) {
		if match(e) {
			db.removed[r] = true
			n++
		}
	})
	return n
}

func (db *DB) each(f func(r ref, e *Entry)) {
	for s, seg := range db.segments {
		for i := range seg.entries {
			if r := (ref{s, i}); !db.removed[r] {
				f(r, &seg.entries[i])
			}
		}
	}
}

// Entries lists what is registered, without fingerprints, in order of adding.
func (db *DB) Entries() []Entry {
	var out []Entry
	db.each(func(_ ref, e *Entry) { out = append(out, *e) })
	return out
}

// Len is the number of registered artifacts.
func (db *DB) Len() int {
	n := 0
	db.each(func(ref, *Entry) { n++ })
	return n
}

// Fingerprint returns the fingerprint of an artifact, or false.
func (db *DB) Fingerprint(model, version, artifact string) (*fingerprint.Fingerprint, bool) {
	var out *fingerprint.Fingerprint
	db.each(func(r ref, e *Entry) {
		if out == nil && e.Model == model && e.Version == version && e.Artifact == artifact {
			out, _ = db.segments[r.segment].fingerprint(r.entry)
		}
	})
	return out, out != nil
}

// Save writes the registry to path, whole or not at all: a reader sees the old
// file or the new one. A link is followed; what is no file is refused.
func (db *DB) Save(path string) (err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%q is no file", path)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	if _, err = db.WriteTo(tmp); err != nil {
		return err
	}
	if err = tmp.Sync(); err != nil {
		return err
	}
	if err = tmp.Close(); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename durable where the file system can; where it cannot, the
// rename itself has still succeeded.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	d.Sync()
	return d.Close()
}

// WriteTo writes the registry file. Segments that lost more than half of their
// entries are built anew, and small ones joined; all others are copied as they are.
func (db *DB) WriteTo(w io.Writer) (int64, error) {
	if err := db.compact(); err != nil {
		return 0, err
	}
	return writeFile(w, db)
}
