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
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"

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
type Store struct {
	db *bbolt.DB

	mu      sync.Mutex
	pending map[Key]Entry
	// SetAside is where a damaged store was moved by Open, "" if there was none.
	SetAside string
}

func bucketFiles() []byte { return []byte("files-1") }
func bucketMeta() []byte  { return []byte("meta-1") }

// pendingMax entries that matter little are written in one transaction.
const pendingMax = 256

// Open opens or creates the store. A damaged one is moved aside and a new one
// begun: the next sweep then reads everything again, which is the safe side.
func Open(path string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	s := &Store{pending: map[Key]Entry{}}
	db, err := openDB(path)
	if err != nil && !errors.Is(err, bbolt.ErrTimeout) && !os.IsPermission(err) {
		s.SetAside = fmt.Sprintf("%s.damaged-%d", path, time.Now().UnixNano())
		if rerr := os.Rename(path, s.SetAside); rerr != nil {
			return nil, fmt.Errorf("state: %w (and it could not be moved aside: %v)", err, rerr)
		}
		db, err = openDB(path)
	}
	if errors.Is(err, bbolt.ErrTimeout) {
		return nil, fmt.Errorf("state: %s is in use by another agent", path)
	}
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	s.db = db
	return s, nil
}

// openDB opens the file and walks it once, because bbolt panics on some damage
// only when it meets it.
func openDB(path string) (db *bbolt.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("damaged: %v", r)
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 2 * time.Second, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketFiles(), bucketMeta()} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		for err := range tx.Check() {
			return err
		}
		return nil
	})
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("damaged: %w", err)
	}
	return db, nil
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
	err := s.db.View(func(tx *bbolt.Tx) error {
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
	if sync || full {
		return s.Flush()
	}
	return nil
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
	err := s.db.Update(func(tx *bbolt.Tx) error {
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
	err := s.db.Update(func(tx *bbolt.Tx) error {
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
	return s.db.View(func(tx *bbolt.Tx) error {
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
	err = s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta()).Put([]byte(name), b) })
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// Meta reads a value that SetMeta kept; false where there is none.
func (s *Store) Meta(name string, v any) bool {
	ok := false
	err := s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketMeta()).Get([]byte(name))
		ok = b != nil && json.Unmarshal(b, v) == nil
		return nil
	})
	return ok && err == nil
}

// Close writes what waits and closes the file.
func (s *Store) Close() error {
	err := s.Flush()
	if cerr := s.db.Close(); err == nil {
		err = cerr
	}
	return err
}
