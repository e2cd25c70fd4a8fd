package uplink

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/mod/sumdb/note"

	"weightwarden/internal/api"
	"weightwarden/internal/durable"
	"weightwarden/internal/snapshot"
)

// ErrRefused is wrapped by errors of Fetch that say that what the server, or somebody
// in its place, offers is not to be trusted. Others only say that it was not reached.
var ErrRefused = errors.New("registry refused, the last good one stays")

// maxBlob bounds a registry file; the manifest names its exact size.
const maxBlob = 1 << 40

// Snapshots keeps the newest registry that verified.
type Snapshots struct {
	client   *Client
	dir      string
	verifier note.Verifier
}

// held is what lies in held.json: what to accept next, and which file is in force.
type held struct {
	snapshot.Held
	File    string    `json:"file"`
	Expires time.Time `json:"expires"`
}

// NewSnapshots keeps snapshots in dir. key is the note verifier key of enrolment.
func NewSnapshots(c *Client, dir, key string) (*Snapshots, error) {
	v, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("snapshot key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	removeUnfinished(dir)
	return &Snapshots{client: c, dir: dir, verifier: v}, nil
}

// Current returns the registry file in force and its epoch; "" when there is
// none yet. The file is checked against its digest, since disks decay.
func (s *Snapshots) Current() (path string, epoch int64, expires time.Time, err error) {
	return Held(s.dir)
}

// Held is Current for who has no connection: it reads the folder alone.
func Held(dir string) (path string, epoch int64, expires time.Time, err error) {
	h, err := readHeld(dir)
	if err != nil || h.File == "" {
		return "", 0, time.Time{}, err
	}
	path = filepath.Join(dir, filepath.Base(h.File))
	if err := verifyFile(path, h.BLAKE3); err != nil {
		return "", h.Epoch, h.Expires, err
	}
	return path, h.Epoch, h.Expires, nil
}

func readHeld(dir string) (held, error) {
	var h held
	b, err := os.ReadFile(filepath.Join(dir, "held.json"))
	if errors.Is(err, os.ErrNotExist) {
		return h, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	if err != nil {
		return held{}, fmt.Errorf("held.json: %w", err)
	}
	return h, nil
}

// Fetch asks for the newest manifest and takes its registry into use where it
// may. changed says whether Current is another now.
func (s *Snapshots) Fetch(ctx context.Context) (changed bool, err error) {
	text, err := s.client.get(ctx, api.PathManifest)
	if err != nil {
		var status *StatusError
		if errors.As(err, &status) && status.Status == http.StatusNotFound {
			return false, nil // nothing is registered yet
		}
		return false, err
	}
	m, err := snapshot.OpenManifest(text, s.verifier)
	if err != nil {
		return false, fmt.Errorf("%w: manifest: %w", ErrRefused, err)
	}
	h, err := readHeld(s.dir)
	if err != nil {
		h = held{} // damaged: what is signed and not expired is better than nothing
	}
	if err := h.Accept(m, time.Now()); err != nil {
		return false, fmt.Errorf("%w: manifest: %w", ErrRefused, err)
	}
	full := m.Full()
	next := held{Held: snapshot.HeldOf(m), File: full.BLAKE3 + ".fpdb", Expires: m.Expires}
	path := filepath.Join(s.dir, next.File)
	if verifyFile(path, full.BLAKE3) != nil {
		if err := s.obtain(ctx, m, h, path); err != nil {
			return false, err
		}
	}
	if err := s.keep(next); err != nil {
		return false, err
	}
	if next.File != h.File {
		s.removeOld(next.File)
	}
	return next.Epoch != h.Epoch || next.File != h.File, nil
}

// obtain gets the full blob of a manifest into a file: by a delta to what is held, if
// there is one, else, and when anything goes wrong with that, whole.
func (s *Snapshots) obtain(ctx context.Context, m *snapshot.Manifest, h held, path string) error {
	full := m.Full()
	if delta, ok := m.DeltaFrom(h.Epoch); ok && h.File != "" && delta.Bytes < full.Bytes && s.patch(ctx, delta, h, full, path) == nil {
		return nil
	}
	return s.download(ctx, full, path)
}

// patch makes a full blob out of the held one. What it makes has the blob's digest, or
// there is an error and no file.
func (s *Snapshots) patch(ctx context.Context, delta snapshot.Blob, h held, full snapshot.Blob, path string) error {
	base, err := os.Open(filepath.Join(s.dir, filepath.Base(h.File)))
	if err != nil {
		return err
	}
	defer base.Close()
	info, err := base.Stat()
	if err != nil {
		return err
	}
	file := filepath.Join(s.dir, delta.BLAKE3+".delta")
	defer os.Remove(file) // nobody needs it twice
	if err := s.download(ctx, delta, file); err != nil {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	ends := snapshot.Ends{Base: h.BLAKE3, BaseBytes: info.Size(), Result: full.BLAKE3, ResultBytes: full.Bytes}
	return durable.Replace(path, 0o600, func(w io.Writer) error { return snapshot.ApplyDelta(w, in, base, ends) })
}

func (s *Snapshots) download(ctx context.Context, b snapshot.Blob, path string) error {
	if b.Bytes > maxBlob {
		return fmt.Errorf("snapshot of %d bytes is over the limit", b.Bytes)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	resp, err := s.client.do(ctx, http.MethodGet, api.PathBlob+b.BLAKE3, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return durable.Replace(path, 0o600, func(w io.Writer) error {
		h := blake3.New()
		n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(resp.Body, b.Bytes+1))
		if err != nil {
			return err
		}
		if sum := hex.EncodeToString(h.Sum(nil)); n != b.Bytes || sum != b.BLAKE3 {
			return fmt.Errorf("%w: %d bytes with BLAKE3 %s, the manifest names %d bytes with %s", ErrRefused, n, sum, b.Bytes, b.BLAKE3)
		}
		return nil
	})
}

func (s *Snapshots) keep(h held) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(s.dir, "held.json"), b, 0o600)
}

// removeOld deletes registries that are no longer in force.
func (s *Snapshots) removeOld(keep string) {
	names, err := filepath.Glob(filepath.Join(s.dir, "*.fpdb"))
	if err != nil {
		return
	}
	for _, n := range names {
		if filepath.Base(n) != keep {
			_ = os.Remove(n) // it only takes room
		}
	}
}

// removeUnfinished deletes what a process that was killed left half written.
func removeUnfinished(dir string) {
	_ = durable.RemoveUnfinished(dir) // it only takes room
	names, err := filepath.Glob(filepath.Join(dir, "*.delta"))
	if err != nil {
		return
	}
	for _, n := range names {
		_ = os.Remove(n) // likewise
	}
}

func verifyFile(path, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := blake3.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("snapshot file is damaged: BLAKE3 %s, want %s", got, want)
	}
	return nil
}
