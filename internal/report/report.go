// Package report writes a verdict as one self-contained HTML page that an analyst
// can print or hand to somebody who has never seen this program: the verdict in a
// sentence, why, how sure that is, which tensor became which, the digests of the
// file, and how to check all of it again. The page loads nothing, runs nothing and
// escapes everything that came out of a file.
package report

import (
	_ "embed" // the page and its style are part of the program
	"fmt"
	"html/template"
	"io"
	"slices"
	"time"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/internal/judge"
)

// Document is one report.
type Document struct {
	Made     time.Time
	Program  string // "fpcheck 1.2.0"
	Host     string // where it was made; may be empty
	Registry Registry
	Items    []Item
	PassedBy string // what was not looked at, one sentence; may be empty
}

// Registry is what the files were judged against. Name is empty in a report that
// compares two files.
type Registry struct {
	Name      string
	BLAKE3    string // of the registry file
	Artifacts int
	Scheme    int    // of the fingerprints
	KeyID     string // the key they were made with
}

// Item is one judged file, or one set of files.
type Item struct {
	Verdict *api.Verdict
	// Registered are all tensors of the artifact that matched, empty without a match.
	Registered []Tensor
	// Original describes the registered artifact: its name, digest, size.
	Original Original
	// OriginalDigests are of file A of a comparison; nil otherwise.
	OriginalDigests *api.Digests
	Commands        []string // that give the same verdict again
}

// Original is the registered artifact, or file A of a comparison.
type Original struct {
	Artifact   string
	Format     string
	Size       int64
	Tensors    int
	Parameters int64
	Content    string // digest of the tensors, hex
}

// Tensor is a tensor of the registered artifact.
type Tensor struct {
	Name       string
	DType      string
	Shape      []int64
	Parameters int64
	// ExactOnly says that the tensor is too small for a comparison by similarity:
	// it is found bit for bit or not at all.
	ExactOnly bool
}

//go:embed page.html
var page string

//go:embed style.css
var style string

// Write writes the page.
func Write(w io.Writer, d *Document) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"show":         cli.PrintableLine,
		"count":        cli.Count,
		"bytes":        cli.Bytes,
		"share":        share,
		"width":        width,
		"tone":         tone,
		"odds":         odds,
		"bound":        bound,
		"meaning":      meaning,
		"shape":        shape,
		"time":         func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") },
		"style":        func() template.CSS { return template.CSS(style) },
		"heatmap":      heatmap,
		"byInvariants": byInvariants,
		"mixture":      mixture,
		"plain":        plainEvidence,
		"findings":     byGravity,
		"matched":      isMatch,
		"percent":      func(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) },
		"cosine":       func(v float64) string { return fmt.Sprintf("%.4f", v) },
		"legend":       legend,
		"inc":          func(i int) int { return i + 1 },
	}).Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, d)
}

func isMatch(v *api.Verdict) bool { return v.Verdict.IsHit() || v.Verdict == api.PublicBase }

// Hits counts the items that show a copy.
func (d *Document) Hits() int {
	n := 0
	for _, it := range d.Items {
		if it.Verdict.Verdict.IsHit() {
			n++
		}
	}
	return n
}

// byGravity orders findings for people.
func byGravity(in []api.Finding) []api.Finding {
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b api.Finding) int {
		return judge.SeverityRank(a.Severity) - judge.SeverityRank(b.Severity)
	})
	return out
}
