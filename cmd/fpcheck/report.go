package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"time"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/index"
	"weightwarden/formats/file"
	"weightwarden/internal/api"
	"weightwarden/internal/buildinfo"
	"weightwarden/internal/cli"
	"weightwarden/internal/durable"
	"weightwarden/internal/report"
)

// reporter collects verdicts for an HTML page.
type reporter struct {
	path     string
	db       *index.DB
	registry string
	clear    int // clear files of folders, which are counted and not shown
	doc      report.Document
}

func newReporter(path string) *reporter {
	r := &reporter{path: path}
	r.doc.Made, r.doc.Program = time.Now(), "fpcheck "+buildinfo.Version()
	if host, err := os.Hostname(); err == nil {
		r.doc.Host = host
	}
	return r
}

// against says which registry the verdicts come from.
func (r *reporter) against(ctx context.Context, db *index.DB, path string) error {
	r.db, r.registry = db, path
	src, err := file.Open(path)
	if err != nil {
		return err
	}
	defer src.Close()
	digests, err := fingerprint.DigestFile(ctx, src, nil)
	if err != nil {
		return err
	}
	reg := report.Registry{Name: path, BLAKE3: digests.BLAKE3.String(), Artifacts: db.Len()}
	if all := db.Entries(); len(all) > 0 {
		if f, ok := db.Fingerprint(all[0].Model, all[0].Version, all[0].Artifact); ok {
			reg.Scheme, reg.KeyID = int(f.Scheme), f.KeyID.String()
		}
	}
	r.doc.Registry = reg
	return nil
}

// add puts a verdict on the page. Clear files are counted, unless all are wanted.
func (r *reporter) add(v *api.Verdict, all bool) {
	if v.Verdict == api.NoMatch && !all {
		r.clear++
		return
	}
	it := report.Item{Verdict: v}
	if len(v.Files) == 0 {
		it.Commands = []string{"sha256sum " + quoteShell(v.Path),
			"fpcheck verify --registry " + quoteShell(r.registry) + " " + quoteShell(v.Path)}
	}
	if f := r.artifact(v); f != nil {
		it.Original, it.Registered = original(f, v.Artifact), tensorsOf(f)
	}
	r.doc.Items = append(r.doc.Items, it)
}

// artifact finds the registered artifact whose tensors the verdict names.
func (r *reporter) artifact(v *api.Verdict) *fingerprint.Fingerprint {
	if v.Model == "" {
		return nil
	}
	for _, e := range r.db.Entries() {
		if e.Model != v.Model || e.Version != v.ModelVersion || v.Artifact != "" && e.Artifact != v.Artifact {
			continue
		}
		if f, ok := r.db.Fingerprint(e.Model, e.Version, e.Artifact); ok {
			return f
		}
	}
	return nil
}

func original(f *fingerprint.Fingerprint, name string) report.Original {
	o := report.Original{Artifact: name, Format: f.Format, Size: f.Size, Tensors: len(f.Tensors), Parameters: f.Parameters()}
	if d := f.Content(); !d.IsZero() {
		o.Content = d.String()
	}
	return o
}

func tensorsOf(f *fingerprint.Fingerprint) []report.Tensor {
	out := make([]report.Tensor, len(f.Tensors))
	for i := range f.Tensors {
		t := &f.Tensors[i]
		name := t.Name
		if t.Member != "" {
			name = t.Member + "!" + t.Name
		}
		out[i] = report.Tensor{Name: name, DType: t.DType.String(), Shape: t.Shape, Parameters: t.Parameters, ExactOnly: t.Sketch == nil}
	}
	return out
}

// write makes the page; small and other files were passed by, failed ones could not
// be judged.
func (r *reporter) write(small, other, failed int) error {
	var parts []string
	say := func(n int, one, many string) {
		if n > 0 {
			parts = append(parts, cli.Plural(n, one, many))
		}
	}
	say(r.clear, "further file was judged and is clear", "further files were judged and are clear")
	say(failed, "file could not be opened or judged", "files could not be opened or judged")
	say(small, "file below 4 kB was passed by", "files below 4 kB were passed by")
	say(other, "link or device was passed by", "links and devices were passed by")
	if len(parts) > 0 {
		r.doc.PassedBy = strings.Join(parts, "; ") + "."
	}
	var b bytes.Buffer
	if err := report.Write(&b, &r.doc); err != nil {
		return err
	}
	return durable.WriteFile(r.path, b.Bytes(), 0o600)
}

// page writes the comparison of two files as a page.
func (c *compared) page(path string, a, b *loaded) error {
	r := newReporter(path)
	v := &api.Verdict{SchemaVersion: api.SchemaVersion, Path: c.B.Path, Size: c.B.Size, Format: c.B.Format, Verdict: c.Verdict,
		Confidence: c.Confidence, PValue: c.PValue, Sentence: c.Sentence, Coverage: c.Coverage, BytesRead: b.print.BytesRead,
		Evidence: c.Evidence, Findings: []api.Finding{}, Tensors: c.Tensors}
	it := report.Item{Verdict: v, Original: original(a.print, a.path), Registered: tensorsOf(a.print),
		Commands: []string{"fpcheck compare " + quoteShell(a.path) + " " + quoteShell(b.path)}}
	if c.Deep != nil {
		it.Commands[0] += " --deep"
	}
	v.Digests = digestsOf(b.print)
	it.OriginalDigests = digestsOf(a.print)
	if v.Verdict.IsHit() {
		v.Model = a.path
	}
	r.doc.Items = append(r.doc.Items, it)
	return r.write(0, 0, 0)
}

func digestsOf(f *fingerprint.Fingerprint) *api.Digests {
	out := &api.Digests{}
	if f.Digests != nil {
		out.BLAKE3, out.SHA256 = f.Digests.BLAKE3.String(), f.Digests.SHA256.String()
	}
	if d := f.Content(); !d.IsZero() {
		out.Content = d.String()
	}
	return out
}

// quoteShell quotes a word for a POSIX shell.
func quoteShell(s string) string {
	plain := strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:+@%,", r))
	}) < 0
	if plain && s != "" && s[0] != '-' {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
