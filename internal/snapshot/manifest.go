// Package snapshot has the signed documents that a server gives to agents: the
// manifest of a registry snapshot and policies. Both are signed notes
// (golang.org/x/mod/sumdb/note, Ed25519) so that any cache or object store can
// carry them: who holds the verifier key can check them without trusting the way.
//
// The text of a note is the document's kind on the first line and one line of
// JSON. Rules for what an agent may accept are in Held.Accept.
package snapshot

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Kinds of signed documents: the first line of the note's text.
const (
	KindManifest = "weightwarden-snapshot/1"
	KindPolicy   = "weightwarden-policy/1"
)

// MaxSigned bounds a signed document in bytes.
const MaxSigned = 1 << 20

// Errors that Open and Accept return, wrapped.
var (
	ErrMalformed = errors.New("malformed signed document")
	ErrSignature = errors.New("signature does not verify")
	ErrRollback  = errors.New("older than what is held")
	ErrConflict  = errors.New("same epoch, other content")
	ErrExpired   = errors.New("expired")
)

// Manifest names the blobs of one epoch of the registry.
type Manifest struct {
	Epoch    int64     `json:"epoch"` // from 1 on; rises with every change of the registry
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"` // after it an agent goes on with what it has and says that it is stale
	Previous string    `json:"previous,omitempty"`
	Entries  int64     `json:"entries"`         // artifacts in the registry
	Blobs    []Blob    `json:"blobs"`           // exactly one of kind full, deltas after it
	Audit    string    `json:"audit,omitempty"` // checkpoint of the server's audit log; the fleet is its witness
}

// Blob is one file that belongs to a manifest.
type Blob struct {
	Kind   string `json:"kind"`           // BlobFull, BlobDelta
	From   int64  `json:"from,omitempty"` // delta: the epoch whose full blob it builds on
	BLAKE3 string `json:"blake3"`         // hex; also its name on the server
	Bytes  int64  `json:"bytes"`
}

// Kinds of blobs. A full one is a .fpdb file; a delta makes it out of that of an epoch
// before (ApplyDelta). Who cannot use a delta fetches the full one.
const (
	BlobFull  = "full"
	BlobDelta = "delta"
)

// Full returns the blob with the whole registry.
func (m *Manifest) Full() Blob { return m.Blobs[0] }

// DeltaFrom returns the blob that leads from an epoch to this one.
func (m *Manifest) DeltaFrom(epoch int64) (Blob, bool) {
	for _, b := range m.Blobs[1:] {
		if b.From == epoch {
			return b, true
		}
	}
	return Blob{}, false
}

// NewKey makes a key pair under a name, as note key strings. The signer key is a
// secret.
func NewKey(name string) (signer, verifier string, err error) {
	return note.GenerateKey(rand.Reader, name)
}

// SignManifest returns the manifest as a signed note.
func SignManifest(m *Manifest, signer note.Signer) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return Sign(KindManifest, body, signer)
}

// OpenManifest verifies a signed manifest. It says nothing about age: see Held.
func OpenManifest(signed []byte, verifier note.Verifier) (*Manifest, error) {
	body, err := Open(KindManifest, signed, verifier)
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return &m, nil
}

// Sign returns a document as a signed note. body is one line of JSON.
func Sign(kind string, body []byte, signer note.Signer) ([]byte, error) {
	if bytes.ContainsAny(body, "\n\r") {
		return nil, fmt.Errorf("%w: body has more than one line", ErrMalformed)
	}
	signed, err := note.Sign(&note.Note{Text: kind + "\n" + string(body) + "\n"}, signer)
	if err == nil && len(signed) > MaxSigned {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrMalformed, len(signed), MaxSigned)
	}
	return signed, err
}

// Open verifies a signed note of a kind and returns its body.
func Open(kind string, signed []byte, verifier note.Verifier) ([]byte, error) {
	if len(signed) > MaxSigned {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrMalformed, len(signed), MaxSigned)
	}
	n, err := note.Open(signed, note.VerifierList(verifier))
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	if errors.As(err, &unverified) || errors.As(err, &invalid) {
		return nil, fmt.Errorf("%w: %v", ErrSignature, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	for _, sig := range n.Sigs {
		// note decodes leniently; one document shall have one form.
		if _, err := base64.StdEncoding.Strict().DecodeString(sig.Base64); err != nil {
			return nil, fmt.Errorf("%w: signature: %v", ErrMalformed, err)
		}
	}
	head, body, ok := bytes.Cut([]byte(n.Text), []byte("\n"))
	if !ok || string(head) != kind {
		return nil, fmt.Errorf("%w: kind %.60q, want %q", ErrMalformed, head, kind)
	}
	body, ok = bytes.CutSuffix(body, []byte("\n"))
	if !ok || bytes.ContainsAny(body, "\n\r") {
		return nil, fmt.Errorf("%w: body is not one line", ErrMalformed)
	}
	return body, nil
}

func (m *Manifest) check() error {
	if m.Epoch < 1 || len(m.Blobs) == 0 || m.Blobs[0].Kind != BlobFull || !m.Expires.After(m.Created) || m.Entries < 0 {
		return fmt.Errorf("%w: manifest of epoch %d", ErrMalformed, m.Epoch)
	}
	for i, b := range m.Blobs {
		if raw, err := hex.DecodeString(b.BLAKE3); err != nil || len(raw) != 32 || b.Bytes < 0 {
			return fmt.Errorf("%w: blob %d", ErrMalformed, i)
		}
		if i > 0 && (b.Kind != BlobDelta || b.From < 1 || b.From >= m.Epoch) {
			return fmt.Errorf("%w: blob %d is no delta to epoch %d", ErrMalformed, i, m.Epoch)
		}
	}
	return nil
}

// Held is what an agent remembers of the last manifest it took. The zero value
// holds nothing.
type Held struct {
	Epoch   int64     `json:"epoch"`
	Created time.Time `json:"created"`
	BLAKE3  string    `json:"blake3"` // of the full blob
}

// HeldOf returns what to remember after taking m.
func HeldOf(m *Manifest) Held {
	return Held{Epoch: m.Epoch, Created: m.Created, BLAKE3: m.Full().BLAKE3}
}

// Accept decides whether m may replace what is held. It refuses rollback
// (ErrRollback), two contents under one epoch (ErrConflict) and a manifest that
// is past its time (ErrExpired: perhaps someone freezes the fleet on old data).
// In each case the agent keeps what it holds, goes on detecting and reports the
// refusal. The same epoch signed anew with a later date is accepted.
func (h Held) Accept(m *Manifest, now time.Time) error {
	switch {
	case m.Epoch < h.Epoch:
		return fmt.Errorf("%w: epoch %d, held %d", ErrRollback, m.Epoch, h.Epoch)
	case m.Epoch == h.Epoch && m.Full().BLAKE3 != h.BLAKE3:
		return fmt.Errorf("%w: epoch %d", ErrConflict, m.Epoch)
	case m.Epoch == h.Epoch && m.Created.Before(h.Created):
		return fmt.Errorf("%w: epoch %d signed %s, held one signed %s", ErrRollback, m.Epoch,
			m.Created.UTC().Format(time.RFC3339), h.Created.UTC().Format(time.RFC3339))
	case now.After(m.Expires):
		return fmt.Errorf("%w: epoch %d at %s", ErrExpired, m.Epoch, m.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}
