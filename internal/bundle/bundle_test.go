package bundle

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func keys(t testing.TB) (note.Signer, note.Verifier) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, "weightwarden")
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

// seal makes a bundle with two files and a log of one entry.
func seal(t testing.TB, s note.Signer) []byte {
	t.Helper()
	leaf := []byte(`{"seq":0}`)
	tree := tlog.Tree{N: 1, Hash: tlog.RecordHash(leaf)}
	checkpoint, err := note.Sign(&note.Note{Text: string(tlog.FormatTree(tree))}, s)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w := NewWriter(&buf, Manifest{Case: "WW-1", Made: time.Unix(1e9, 0).UTC()})
	w.Add("report.md", []byte("# report"))
	w.AddJSON("hits/1.json", map[string]int{"a": 1})
	w.Add(CheckpointName, checkpoint)
	w.AddJSON(ProofsName, []Proof{{Seq: 0, Leaf: leaf, Proof: []tlog.Hash{}}})
	if err := w.Close(s); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func verify(b []byte, v note.Verifier) (*Report, error) {
	return Verify(bytes.NewReader(b), int64(len(b)), v)
}

func TestSealedBundleVerifies(t *testing.T) {
	s, v := keys(t)
	r, err := verify(seal(t, s), v)
	if err != nil || r.Files != 4 || r.Proven != 1 || r.Manifest.Case != "WW-1" {
		t.Fatalf("%+v, %v", r, err)
	}
	_, other := keys(t)
	if _, err := verify(seal(t, s), other); !errors.Is(err, ErrSignature) {
		t.Errorf("another key: %v", err)
	}
}

// Any byte of any file, changed, is found.
func TestAnyChangedByteIsFound(t *testing.T) {
	s, v := keys(t)
	whole := unzip(t, seal(t, s))
	for name, body := range whole {
		for i := range body {
			changed := map[string][]byte{}
			for n, b := range whole {
				changed[n] = b
			}
			c := bytes.Clone(body)
			c[i] ^= 1
			changed[name] = c
			if _, err := verify(rezip(t, changed), v); err == nil {
				t.Errorf("byte %d of %s changed: nothing found", i, name)
			}
		}
	}
}

func TestAddedAndMissingFilesAreFound(t *testing.T) {
	s, v := keys(t)
	whole := unzip(t, seal(t, s))
	whole["extra"] = []byte("x")
	if _, err := verify(rezip(t, whole), v); !errors.Is(err, ErrTampered) {
		t.Errorf("added: %v", err)
	}
	delete(whole, "extra")
	delete(whole, "report.md")
	if _, err := verify(rezip(t, whole), v); !errors.Is(err, ErrTampered) {
		t.Errorf("missing: %v", err)
	}
	if _, err := verify([]byte("no zip"), v); !errors.Is(err, ErrMalformed) {
		t.Errorf("no zip: %v", err)
	}
}

func unzip(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if out[f.Name], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func rezip(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for name, body := range files {
		f, err := z.Create(name)
		if err == nil {
			_, err = f.Write(body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func FuzzVerify(f *testing.F) {
	s, v := keys(f)
	f.Add(seal(f, s))
	f.Add([]byte(strings.Repeat("PK\x05\x06", 10)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := verify(b, v); (r == nil) == (err == nil) {
			t.Fatal("neither a report nor an error")
		}
	})
}
