//go:build unix

package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"weightwarden/server/store"
	"weightwarden/server/store/storetest"
)

// The database holds secrets of targets and all that was seen: in a folder that others
// may enter they cannot read it, nor the files that SQLite puts beside it.
func TestDatabaseIsPrivate(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := storetest.Open(t, store.Config{Path: filepath.Join(dir, "server.db")})
	if err := s.SetMeta(t.Context(), "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
}
