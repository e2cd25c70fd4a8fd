package process

import (
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/zeebo/blake3"

	"weightwarden/internal/api"
)

// Programs computes the digests of program files, and keeps them as long as the
// files do not change. It is safe for concurrent use.
type Programs struct {
	root string // of /proc

	mu    sync.Mutex
	known map[programKey]string
}

// programKey is the identity of a program file and of its content.
type programKey struct {
	id           FileID
	size         int64
	mtime, ctime int64 // nanoseconds since 1970
}

const (
	programMax  = 512 << 20 // larger programs get no digest: a hit must not wait for them
	programKeep = 1024
)

// NewPrograms returns an empty Programs that finds running processes below a
// folder, "/proc".
func NewPrograms(root string) *Programs { return &Programs{root: root, known: map[programKey]string{}} }

// Digest returns the BLAKE3 of the program of p in hex, "" where it cannot be
// had: the program is gone, is too large, or was changed after the process
// started (then the file is another program by now).
func (g *Programs) Digest(p *api.Process) string {
	// A living process leads to its program even if that was deleted, and in any
	// mount namespace.
	f, alive := g.open(filepath.Join(g.root, strconv.Itoa(p.PID), "exe")), true
	if f != nil && p.Exe != "" {
		if name, err := os.Readlink(f.Name()); err != nil || name != p.Exe && name != p.Exe+" (deleted)" {
			f.Close() // the number belongs to another process by now
			f = nil
		}
	}
	if f == nil && p.Exe != "" {
		f, alive = g.open(p.Exe), false
	}
	if f == nil {
		return ""
	}
	defer f.Close()
	key, ok := keyOf(f)
	if !ok || key.size > programMax || !alive && (p.Started == nil || key.ctime >= p.Started.UnixNano()) {
		return ""
	}
	g.mu.Lock()
	sum, ok := g.known[key]
	g.mu.Unlock()
	if ok {
		return sum
	}
	h := blake3.New()
	if n, err := io.Copy(h, io.LimitReader(f, programMax)); err != nil || n != key.size {
		return ""
	}
	if again, ok := keyOf(f); !ok || again != key { // it changed under the reader
		return ""
	}
	sum = hex.EncodeToString(h.Sum(nil))
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.known) >= programKeep {
		clear(g.known)
	}
	g.known[key] = sum
	return sum
}

// open opens a regular file, nil where there is none.
func (g *Programs) open(path string) *os.File {
	info, err := os.Stat(path) // a pipe would block
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	return f
}
