// Package bundle seals evidence and checks it. A bundle is a zip file in which
// manifest.json names every other file with its SHA-256, manifest.note is the
// server's signature (a signed note, Ed25519) over the manifest's SHA-256, and
// audit/ proves by RFC 6962 inclusion proofs that what was done to the case stands
// in the server's audit log. Who has the server's verifier key needs nothing else:
// no server, no network.
package bundle

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Kind is the first line of the signed text.
const Kind = "weightwarden-evidence/1"

// Names of the files that every bundle has.
const (
	ManifestName   = "manifest.json"
	SignatureName  = "manifest.note"
	CheckpointName = "audit/checkpoint.note"
	ProofsName     = "audit/proofs.json"
	KeyName        = "key.txt" // the verifier key, for those who have none; optional
)

// Manifest says what is in a bundle.
type Manifest struct {
	SchemaVersion int       `json:"schema_version"`
	Kind          string    `json:"kind"`
	Case          string    `json:"case"`
	TLP           string    `json:"tlp"`
	Made          time.Time `json:"made"`
	MadeBy        string    `json:"made_by"`
	Program       string    `json:"program"`
	Files         []Entry   `json:"files"`
}

// Entry is one file of a bundle.
type Entry struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // hex
}

// Proof shows that an entry of the audit log is in the tree of the checkpoint.
type Proof struct {
	Seq   int64       `json:"seq"`
	Leaf  []byte      `json:"leaf"` // as it was hashed
	Proof []tlog.Hash `json:"proof"`
}

// Writer seals a bundle: Add its files, then Close.
type Writer struct {
	zip      *zip.Writer
	manifest Manifest
	failed   error
}

// NewWriter begins a bundle on w. Files of m are filled in.
func NewWriter(w io.Writer, m Manifest) *Writer {
	m.SchemaVersion, m.Kind, m.Files = 1, Kind, []Entry{}
	return &Writer{zip: zip.NewWriter(w), manifest: m}
}

// Add puts a file into the bundle. The first error is kept for Close.
func (w *Writer) Add(path string, body []byte) {
	if w.failed != nil {
		return
	}
	sum := sha256.Sum256(body)
	w.manifest.Files = append(w.manifest.Files, Entry{Path: path, Bytes: int64(len(body)), SHA256: hex.EncodeToString(sum[:])})
	w.failed = w.put(path, body)
}

// AddJSON puts a value into the bundle as indented JSON.
func (w *Writer) AddJSON(path string, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		w.failed = errors.Join(w.failed, err)
		return
	}
	w.Add(path, append(body, '\n'))
}

func (w *Writer) put(path string, body []byte) error {
	f, err := w.zip.CreateHeader(&zip.FileHeader{Name: path, Method: zip.Deflate, Modified: w.manifest.Made})
	if err == nil {
		_, err = f.Write(body)
	}
	return err
}

// Close writes the manifest and its signature and ends the bundle.
func (w *Writer) Close(signer note.Signer) error {
	if w.failed != nil {
		return w.failed
	}
	body, err := json.MarshalIndent(w.manifest, "", "  ")
	if err != nil {
		return err
	}
	signed, err := note.Sign(&note.Note{Text: signedText(body)}, signer)
	if err != nil {
		return err
	}
	if err := w.put(ManifestName, body); err != nil {
		return err
	}
	if err := w.put(SignatureName, signed); err != nil {
		return err
	}
	return w.zip.Close()
}

func signedText(manifest []byte) string {
	return fmt.Sprintf("%s\n%x\n", Kind, sha256.Sum256(manifest))
}
