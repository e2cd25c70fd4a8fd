package bundle

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Errors that Verify wraps.
var (
	ErrTampered  = errors.New("the bundle is not as it was sealed")
	ErrSignature = errors.New("the signature does not verify with this key")
	ErrMalformed = errors.New("this is no evidence bundle")
)

// Limits of what Verify reads of a bundle that anybody may have made.
const (
	maxFiles    = 20_000
	maxManifest = 32 << 20
	maxFile     = 1 << 30
	maxTotal    = 8 << 30
)

// Report is what Verify found in a sound bundle.
type Report struct {
	Manifest Manifest
	Signer   string // name of the key
	Files    int
	Bytes    int64
	Proven   int        // entries of the audit log that were proven
	Tree     *tlog.Tree // of the checkpoint; nil without one
}

// Verify checks a bundle against the server's key: the signature over the manifest,
// the digest of each file, that nothing was added, and the proofs of the audit
// log. Every error says what is wrong with which file.
func Verify(r io.ReaderAt, size int64, key note.Verifier) (*Report, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	files, err := list(z)
	if err != nil {
		return nil, err
	}
	body, err := read(files, ManifestName, maxManifest)
	if err != nil {
		return nil, err
	}
	signed, err := read(files, SignatureName, maxManifest)
	if err != nil {
		return nil, err
	}
	n, err := openNote(signed, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if n.Text != signedText(body) {
		return nil, fmt.Errorf("%w: %s is not what was signed", ErrTampered, ManifestName)
	}
	out := &Report{Signer: n.Sigs[0].Name}
	if err := json.Unmarshal(body, &out.Manifest); err != nil || out.Manifest.Kind != Kind {
		return nil, fmt.Errorf("%w: %s", ErrMalformed, ManifestName)
	}
	if err := out.check(files); err != nil {
		return nil, err
	}
	if err := out.checkAudit(files, key); err != nil {
		return nil, err
	}
	return out, nil
}

func list(z *zip.Reader) (map[string]*zip.File, error) {
	if len(z.File) > maxFiles {
		return nil, fmt.Errorf("%w: it has %d files", ErrMalformed, len(z.File))
	}
	files := make(map[string]*zip.File, len(z.File))
	for _, f := range z.File {
		if files[f.Name] != nil {
			return nil, fmt.Errorf("%w: %.200q is in it twice", ErrTampered, f.Name)
		}
		files[f.Name] = f
	}
	return files, nil
}

// check reads every file of the manifest and finds what is not in the manifest.
func (r *Report) check(files map[string]*zip.File) error {
	named := map[string]bool{ManifestName: true, SignatureName: true}
	for _, e := range r.Manifest.Files {
		if named[e.Path] {
			return fmt.Errorf("%w: %.200q is named twice", ErrMalformed, e.Path)
		}
		named[e.Path] = true
		f := files[e.Path]
		if f == nil {
			return fmt.Errorf("%w: %.200q is missing", ErrTampered, e.Path)
		}
		if r.Bytes += e.Bytes; e.Bytes < 0 || e.Bytes > maxFile || r.Bytes > maxTotal {
			return fmt.Errorf("%w: %.200q has %d bytes, more than is read", ErrMalformed, e.Path, e.Bytes)
		}
		if err := checkFile(f, e); err != nil {
			return err
		}
		r.Files++
	}
	for name := range files {
		if !named[name] {
			return fmt.Errorf("%w: %.200q was added", ErrTampered, name)
		}
	}
	return nil
}

func checkFile(f *zip.File, e Entry) error {
	in, err := f.Open()
	if err != nil {
		return fmt.Errorf("%w: %.200q: %w", ErrTampered, e.Path, err)
	}
	defer in.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(in, e.Bytes+1))
	if err != nil {
		return fmt.Errorf("%w: %.200q: %w", ErrTampered, e.Path, err)
	}
	if n != e.Bytes || hex.EncodeToString(sum.Sum(nil)) != e.SHA256 {
		return fmt.Errorf("%w: %.200q is not what was sealed", ErrTampered, e.Path)
	}
	return nil
}

func read(files map[string]*zip.File, name string, limit int64) ([]byte, error) {
	f := files[name]
	if f == nil {
		return nil, fmt.Errorf("%w: it has no %s", ErrMalformed, name)
	}
	in, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, name, err)
	}
	defer in.Close()
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(in, limit+1))
	if err != nil || n > limit {
		return nil, fmt.Errorf("%w: %s cannot be read, or is too long", ErrMalformed, name)
	}
	return buf.Bytes(), nil
}

// checkAudit proves each entry against the signed checkpoint.
func (r *Report) checkAudit(files map[string]*zip.File, key note.Verifier) error {
	signed, err := read(files, CheckpointName, maxManifest)
	if err != nil {
		return err
	}
	n, err := openNote(signed, key)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", CheckpointName, ErrSignature, err)
	}
	tree, err := tlog.ParseTree([]byte(n.Text))
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrMalformed, CheckpointName, err)
	}
	body, err := read(files, ProofsName, maxFile)
	if err != nil {
		return err
	}
	var proofs []Proof
	if err := json.Unmarshal(body, &proofs); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrMalformed, ProofsName, err)
	}
	for _, p := range proofs {
		if p.Seq < 0 || p.Seq >= tree.N {
			return fmt.Errorf("%w: entry %d is not in a log of %d", ErrTampered, p.Seq, tree.N)
		}
		if err := tlog.CheckRecord(p.Proof, tree.N, tree.Hash, p.Seq, tlog.RecordHash(p.Leaf)); err != nil {
			return fmt.Errorf("%w: entry %d of the audit log: %w", ErrTampered, p.Seq, err)
		}
		r.Proven++
	}
	r.Tree = &tree
	return nil
}

// OwnKey returns the verifier key that lies in a bundle. It says who claims to have
// sealed it, not who did.
func OwnKey(r io.ReaderAt, size int64) (string, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	files, err := list(z)
	if err != nil {
		return "", err
	}
	key, err := read(files, KeyName, 4096)
	return string(bytes.TrimSpace(key)), err
}

// openNote opens a note that key signed, written as signers write it: the last character
// of a signature has bits that say nothing, and a change of these is a change, too.
func openNote(signed []byte, key note.Verifier) (*note.Note, error) {
	n, err := note.Open(signed, note.VerifierList(key))
	if err != nil {
		return nil, err
	}
	for _, s := range n.Sigs {
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return nil, err
		}
	}
	return n, nil
}
