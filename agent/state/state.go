// Package state remembers which files were judged, so that nothing unchanged is
// read twice and no copy is reported twice.
//
// The key is the identity of a file: filesystem id, inode and birth time, which
// survive renames, hard links and (unlike device numbers) reboots. An entry is
// valid as long as size, modification time and change time are the same. Users
// can set the modification time but not the change time.
package state

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"weightwarden/internal/api"
)

// Key is the identity of a file.
type Key struct {
	FS    uint64 // filesystem id, from statfs
	Inode uint64
	Birth int64 // nanoseconds since 1970, 0 where the filesystem keeps none
}

// Stamp is what changes with the content.
type Stamp struct {
	Size  int64 `json:"size"`
	Mtime int64 `json:"mtime"` // nanoseconds since 1970
	Ctime int64 `json:"ctime"` // nanoseconds since 1970
}

// Entry is what is known of a file.
type Entry struct {
	Stamp    Stamp     `json:"stamp"`
	Path     string    `json:"path"`
	Verdict  api.Word  `json:"verdict"`
	Model    string    `json:"model,omitempty"`
	Version  string    `json:"version,omitempty"`
	Kind     string    `json:"kind,omitempty"`
	Snapshot int64     `json:"snapshot"` // registry epoch that judged
	Epoch    string    `json:"epoch,omitempty"`
	Seq      uint64    `json:"seq,omitempty"` // of the hit that reported it, 0: none
	Judged   time.Time `json:"judged"`
	Names    string    `json:"names,omitempty"` // paths under which this content was reported, NUL-separated
}

// namesMax bounds the names kept of one file.
const namesMax = 32

// HasName reports whether the content was reported under a path.
func (e Entry) HasName(path string) bool {
	return slices.Contains(strings.Split(e.Names, "\x00"), path)
}

// WithName returns e with one more reported path; the oldest goes when there are
// too many.
func (e Entry) WithName(path string) Entry {
	if e.HasName(path) {
		return e
	}
	var names []string
	if e.Names != "" {
		names = strings.Split(e.Names, "\x00")
	}
	if len(names) >= namesMax {
		names = names[1:]
	}
	e.Names = strings.Join(append(names, path), "\x00")
	return e
}

// Store is the set of entries on disk. Its methods are safe for concurrent use.
//
// Damage that is met at any time has the file moved aside and a new one begun: every
// file is then unknown and judged anew, which is the safe side.
type Store struct {
	path string

	file sync.Mutex // one transaction at a time: what panics may never release bbolt's own locks
	db   *bbolt.DB

	mu      sync.Mutex
	pending map[Key]Entry
	aside   string // see Aside
}

func bucketFiles() []byte { return []byte("files-1") }
func bucketMeta() []byte  { return []byte("meta-1") }

const (
	pendingMax  = 256     // entries that matter little are written in one transaction
	pendingKeep = 1 << 16 // entries kept while the disk takes none
)

// errDamaged is that a file is no database, or no whole one.
var errDamaged = errors.New("damaged")

// Open opens or creates the store. A damaged one is moved aside, see Aside; a disk
// that is full or fails is an error and leaves the file where it is.
func Open(path string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	s := &Store{path: path, pending: map[Key]Entry{}}
	var err error
	if s.db, err = openDB(path); errors.Is(err, errDamaged) {
		err = s.moveAside(err)
	}
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("state: %s is in use by another agent", path)
	}
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return s, nil
}

// moveAside begins a new file in place of one that is damaged.
func (s *Store) moveAside(damage error) error {
	aside := fmt.Sprintf("%s.damaged-%d", s.path, time.Now().UnixNano())
	if err := os.Rename(s.path, aside); err != nil {
		return fmt.Errorf("%w (and it could not be moved aside: %v)", damage, err)
	}
	db, err := openDB(s.path)
	if err != nil {
		return err
	}
	s.db = db
	s.mu.Lock()
	s.aside = aside
	s.mu.Unlock()
	return nil
}

// Aside returns where a damaged store was moved since it was last asked, "" if
// there was none.
func (s *Store) Aside() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	aside := s.aside
	s.aside = ""
	return aside
}

// openDB opens the file and walks it once, so that damage is met now.
func openDB(path string) (*bbolt.DB, error) {
	var db *bbolt.DB
	err := guarded(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 2 * time.Second, FreelistType: bbolt.FreelistMapType})
		return err
	})
	if err != nil {
		return nil, damage(err)
	}
	if err := guarded(func() error { return prepare(db) }); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

// damage tells a file that is no database from one that cannot be opened now.
func damage(err error) error {
	var path *os.PathError
	var errno syscall.Errno
	if errors.Is(err, errDamaged) || errors.Is(err, bolterrors.ErrTimeout) || errors.As(err, &path) || errors.As(err, &errno) {
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// prepare checks the whole file, and makes the buckets of a new one: a full disk
// does not keep an old one from being used.
func prepare(db *bbolt.DB) error {
	fresh := false
	err := db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		fresh = tx.Bucket(bucketFiles()) == nil || tx.Bucket(bucketMeta()) == nil
		return nil
	})
	if err != nil || !fresh {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketFiles(), bucketMeta()} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// guarded runs f and makes errors of its panics: bbolt panics on damage when it
// meets it, and a file that became shorter faults.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	return f()
}

// view and update run f in a transaction; damage that it meets has the file moved
// aside, and is an error.
func (s *Store) view(f func(*bbolt.Tx) error) error {
	return s.transact(func(db *bbolt.DB) error { return db.View(f) })
}

func (s *Store) update(f func(*bbolt.Tx) error) error {
	return s.transact(func(db *bbolt.DB) error { return db.Update(f) })
}

func (s *Store) transact(f func(*bbolt.DB) error) error {
	s.file.Lock()
	defer s.file.Unlock()
	err := guarded(func() error { return f(s.db) })
	if errors.Is(err, errDamaged) { // the old one is not closed: that could wait for ever
		return errors.Join(err, s.moveAside(err))
	}
	return err
}

func (k Key) bytes() []byte {
	b := make([]byte, 24)
	binary.BigEndian.PutUint64(b, k.FS)
	binary.BigEndian.PutUint64(b[8:], k.Inode)
	binary.BigEndian.PutUint64(b[16:], uint64(k.Birth))
	return b
}

// Get returns the entry of a file.
func (s *Store) Get(k Key) (Entry, bool) {
	s.mu.Lock()
	e, ok := s.pending[k]
	s.mu.Unlock()
	if ok {
		return e, true
	}
	err := s.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketFiles()).Get(k.bytes())
		if b == nil {
			return nil
		}
		ok = json.Unmarshal(b, &e) == nil // an entry that does not parse is none
		return nil
	})
	return e, ok && err == nil
}

// Put remembers a file; with sync the entry is on disk when Put returns, else
// soon.
func (s *Store) Put(k Key, e Entry, sync bool) error {
	s.mu.Lock()
	s.pending[k] = e
	full := len(s.pending) >= pendingMax
	s.mu.Unlock()
	if !sync && !full {
		return nil
	}
	err := s.Flush()
	if err != nil && !sync {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.pending) > pendingKeep { // forgotten: it is judged again
			delete(s.pending, k)
		}
	}
	return err
}

// Flush writes what waits.
func (s *Store) Flush() error {
	s.mu.Lock()
	batch := make(map[Key]Entry, len(s.pending))
	for k, e := range s.pending {
		batch[k] = e
	}
	s.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := s.update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bucketFiles())
		for k, e := range batch {
			b, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if err := bucket.Put(k.bytes(), b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	s.mu.Lock()
	for k, e := range batch {
		if s.pending[k] == e {
			delete(s.pending, k)
		}
	}
	s.mu.Unlock()
	return nil
}

// Forget removes the entries that f chooses, and says how many.
func (s *Store) Forget(f func(Key, Entry) bool) (int, error) {
	if err := s.Flush(); err != nil {
		return 0, err
	}
	n := 0
	err := s.update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bucketFiles())
		var gone [][]byte
		err := bucket.ForEach(func(kb, vb []byte) error {
			var e Entry
			k, ok := keyOf(kb)
			if !ok || json.Unmarshal(vb, &e) != nil || f(k, e) {
				gone = append(gone, append([]byte(nil), kb...))
			}
			return nil
		})
		if err != nil {
			return err
		}
		n = len(gone)
		for _, kb := range gone {
			if err := bucket.Delete(kb); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("state: %w", err)
	}
	return n, nil
}

// Each calls f with every entry.
func (s *Store) Each(f func(Key, Entry)) error {
	if err := s.Flush(); err != nil {
		return err
	}
	return s.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketFiles()).ForEach(func(kb, vb []byte) error {
			var e Entry
			if k, ok := keyOf(kb); ok && json.Unmarshal(vb, &e) == nil {
				f(k, e)
			}
			return nil
		})
	})
}

func keyOf(b []byte) (Key, bool) {
	if len(b) != 24 {
		return Key{}, false
	}
	return Key{FS: binary.BigEndian.Uint64(b), Inode: binary.BigEndian.Uint64(b[8:]), Birth: int64(binary.BigEndian.Uint64(b[16:]))}, true
}

// SetMeta keeps a small JSON value under a name.
func (s *Store) SetMeta(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	err = s.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta()).Put([]byte(name), b) })
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// Meta reads a value that SetMeta kept; false where there is none.
func (s *Store) Meta(name string, v any) bool {
	ok := false
	err := s.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketMeta()).Get([]byte(name))
		ok = b != nil && json.Unmarshal(b, v) == nil
		return nil
	})
	return ok && err == nil
}

// Close writes what waits and closes the file.
func (s *Store) Close() error {
	err := s.Flush()
	s.file.Lock()
	defer s.file.Unlock()
	if cerr := s.db.Close(); err == nil {
		err = cerr
	}
	return err
}
