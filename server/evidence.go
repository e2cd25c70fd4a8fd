package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"weightwarden/internal/bundle"
	"weightwarden/server/auth"
	"weightwarden/server/cases"
	"weightwarden/server/export"
	"weightwarden/server/store"
	"weightwarden/server/ui"
)

// sealedHits bounds the hits of a bundle; the manifest says how many there are.
const sealedHits = 5000

// howToCheck stands in every bundle.
const howToCheck = `Sealed evidence of weightwarden.

manifest.json names every file with its SHA-256; manifest.note signs the manifest; audit/ proves
that what was done to the case stands in the server's audit log.

To check it, offline, with the server's key (fpctl prints it; take it from the server, not from here):

    fpcheck bundle verify --key 'weightwarden+...' THIS.zip

Times are UTC. hits/ has what agents reported, word for word.
`

// Seal makes the sealed evidence of a case. That it was handed out, to whom, and
// its digest are in the chain of custody before the first byte leaves.
func (s *Server) Seal(ctx context.Context, by store.Actor, caseID string) (*ui.Sealed, error) {
	f, err := s.store.Case(ctx, by, s.playbook, caseID)
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(s.cfg.DataDir, "evidence-*.zip")
	if err != nil {
		return nil, err
	}
	out := &temporary{file}
	sum := sha256.New()
	size := &counter{}
	if err := s.writeBundle(ctx, io.MultiWriter(file, sum, size), f, by); err != nil {
		return nil, fmt.Errorf("seal %s: %w", f.Ref(), closing(err, out))
	}
	sealed := &ui.Sealed{Name: f.Ref() + "-evidence.zip", Size: size.n, SHA256: hex.EncodeToString(sum.Sum(nil)), ReadSeekCloser: out}
	entry := cases.Custody{Action: "downloaded", Item: sealed.Name, SHA256: sealed.SHA256, To: by.Name, Purpose: "sealed evidence, handed out at " + s.now().UTC().Format("2006-01-02 15:04:05")}
	if err := s.store.AddCustody(ctx, by, caseID, entry); err != nil {
		return nil, closing(err, out)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, closing(err, out)
	}
	return sealed, nil
}

func closing(err error, c io.Closer) error {
	_ = c.Close() // the first error is the one to tell
	return err
}

// temporary is a file that goes when it is closed.
type temporary struct{ *os.File }

func (t *temporary) Close() error {
	err := t.File.Close()
	if rerr := os.Remove(t.Name()); err == nil {
		err = rerr
	}
	return err
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

func (s *Server) writeBundle(ctx context.Context, out io.Writer, f *store.CaseFile, by store.Actor) error {
	program := "weightwarden " + s.cfg.Version
	w := bundle.NewWriter(out, bundle.Manifest{Case: f.Ref(), TLP: f.TLP, Made: s.now().UTC(), MadeBy: by.Name, Program: program})
	w.Add("README.txt", []byte(howToCheck))
	w.Add(bundle.KeyName, []byte(s.verifier+"\n"))
	report := f.Report(s.playbook, s.now(), by.Name, program)
	page, err := report.HTML()
	if err != nil {
		return err
	}
	w.Add("report.html", page)
	w.Add("report.md", report.Markdown())
	w.AddJSON("case.json", report)
	w.AddJSON("timeline.json", f.Events)
	w.AddJSON("indicators.json", f.Observables)
	w.AddJSON("custody.json", f.Custody)
	w.AddJSON("playbook.json", s.playbook)
	e, err := s.evidenceOf(ctx, f)
	if err != nil {
		return err
	}
	stix, err := export.STIX(e)
	if err != nil {
		return err
	}
	w.Add("stix.json", stix)
	if err := s.addHits(ctx, w, f); err != nil {
		return err
	}
	if err := s.addAudit(ctx, w, f.ID); err != nil {
		return err
	}
	return w.Close(s.signer)
}

func (s *Server) addHits(ctx context.Context, w *bundle.Writer, f *store.CaseFile) error {
	hits, err := s.store.CaseHits(ctx, f.ID, sealedHits)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for i, h := range hits {
		w.AddJSON(fmt.Sprintf("hits/%04d-%s.json", i+1, h.ID), map[string]any{"id": h.ID, "received": h.Received, "hit": h.Body})
		names[h.Body.Verdict.Model] = true
	}
	registered := []any{}
	for _, name := range f.Models {
		if m, err := s.store.Model(ctx, name); err == nil && names[name] { // a model that was deleted since is in the hits still
			registered = append(registered, m)
		}
	}
	w.AddJSON("fingerprints/registered.json", registered)
	return nil
}

// addAudit adds what the audit log has of the case, with the proofs.
func (s *Server) addAudit(ctx context.Context, w *bundle.Writer, id string) error {
	tree, err := s.store.AuditTree(ctx)
	if err != nil {
		return err
	}
	signed, err := note.Sign(&note.Note{Text: string(tlog.FormatTree(tree))}, s.signer)
	if err != nil {
		return err
	}
	list, err := s.store.CaseProofs(ctx, id, tree.N)
	if err != nil {
		return err
	}
	proofs := make([]bundle.Proof, 0, len(list))
	entries := make([]json.RawMessage, 0, len(list))
	for _, p := range list {
		proofs = append(proofs, bundle.Proof{Seq: p.Seq, Leaf: p.Leaf, Proof: p.Proof})
		entries = append(entries, p.Leaf)
	}
	w.Add(bundle.CheckpointName, signed)
	w.AddJSON(bundle.ProofsName, proofs)
	w.AddJSON("audit/entries.json", entries)
	return nil
}

func (s *Server) caseBundle(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	sealed, err := s.Seal(r.Context(), p.Actor, r.PathValue("id"))
	if err != nil {
		return err
	}
	defer sealed.Close()
	return sealed.Send(w)
}
