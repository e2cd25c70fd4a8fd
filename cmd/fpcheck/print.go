package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/internal/judge"
)

// printer shows verdicts to people or, with --json, to programs.
type printer struct {
	env *cli.Env
	all bool // clear files too
}

// verdict prints one verdict.
func (p *printer) verdict(v *api.Verdict) {
	if p.env.JSON {
		cli.WriteJSON(p.env.Stdout, v)
		return
	}
	clear := v.Verdict == api.NoMatch || v.Verdict == api.PublicBase
	if clear && !p.all && !slices.ContainsFunc(v.Findings, grave) {
		return
	}
	w, s := p.env.Stdout, cli.Style{Colour: cli.ColourFor(p.env, p.env.Stdout)}
	fmt.Fprintf(w, "%s\n", s.Bold(cli.PrintableLine(v.Path)))
	fmt.Fprintf(w, "  %s%s\n", paint(s, v.Verdict), subject(v))
	fmt.Fprintf(w, "  %s\n", cli.PrintableLine(v.Sentence))
	if v.Verdict.IsHit() || v.Verdict == api.PublicBase {
		p.reasons(v, s)
	}
	p.findings(v, s)
	fmt.Fprintf(w, "  %s\n\n", s.Dim(footer(v)))
}

func grave(f api.Finding) bool { return f.Severity == "danger" || f.Severity == "unread" }

func paint(s cli.Style, w api.Word) string {
	switch {
	case w == api.Reparameterised || w == api.Inconclusive:
		return s.Yellow(string(w))
	case w.IsHit():
		return s.Red(string(w))
	}
	return s.Green(string(w))
}

func subject(v *api.Verdict) string {
	if v.Model == "" {
		return ""
	}
	return fmt.Sprintf("  %s %s (%s)", cli.PrintableLine(v.Model), cli.PrintableLine(v.ModelVersion), v.Kind)
}

func (p *printer) reasons(v *api.Verdict, s cli.Style) {
	w, c := p.env.Stdout, v.Coverage
	fmt.Fprintf(w, "  coverage  %s  %s of the parameters, %s of the tensors, %s of the bytes\n",
		cli.Bar(c.Parameters, 20), share(c.Parameters), share(c.Tensors), share(c.Bytes))
	for _, e := range v.Evidence {
		about := ""
		if e.Model != "" {
			about = " [" + e.Model + "]"
		}
		fmt.Fprintf(w, "  evidence  %s%s%s\n", cli.PrintableLine(e.Text), cli.PrintableLine(about), s.Dim(chance(e)))
	}
	for i, o := range v.Others {
		if i == 5 {
			fmt.Fprintf(w, "  also      %d more registered models\n", len(v.Others)-i)
			break
		}
		fmt.Fprintf(w, "  also      %s %s (%s): %s, %s of its parameters\n", cli.PrintableLine(o.Model),
			cli.PrintableLine(o.ModelVersion), o.Kind, o.Verdict, share(o.Coverage.Parameters))
	}
}

// chance says how likely the evidence is by accident.
func chance(e api.Evidence) string {
	if e.PValue == nil {
		return ""
	}
	text := fmt.Sprintf(" (by chance: under 1e%d", int(math.Ceil(math.Log10(*e.PValue))))
	if *e.PValue > 1e-3 {
		text = fmt.Sprintf(" (by chance: %.2g", *e.PValue)
	}
	if e.Bound != "" {
		text += ", bound: " + e.Bound
	}
	return text + ")"
}

// findingsShown is how many findings of one file a person is shown.
const findingsShown = 8

func (p *printer) findings(v *api.Verdict, s cli.Style) {
	printFindings(p.env, v.Findings, s, findingsShown)
}

func printFindings(env *cli.Env, in []api.Finding, s cli.Style, most int) {
	sorted := slices.Clone(in)
	slices.SortStableFunc(sorted, func(a, b api.Finding) int {
		return judge.SeverityRank(a.Severity) - judge.SeverityRank(b.Severity)
	})
	for i, f := range sorted {
		if i == most {
			fmt.Fprintf(env.Stdout, "  finding   %d more; --json has all\n", len(sorted)-i)
			break
		}
		severity := f.Severity
		switch severity {
		case "danger":
			severity = s.Red(severity)
		case "unread", "warning":
			severity = s.Yellow(severity)
		}
		at := ""
		if f.Offset >= 0 {
			at = s.Dim(fmt.Sprintf(" (at byte %d)", f.Offset))
		}
		fmt.Fprintf(env.Stdout, "  finding   %s: %s%s\n", severity, cli.PrintableLine(f.Text), at)
	}
}

func footer(v *api.Verdict) string {
	parts := []string{cli.PrintableLine(v.Format), cli.Bytes(v.Size)}
	if len(v.Files) > 0 {
		parts = append(parts, cli.Plural(len(v.Files), "file", "files")+" together")
	} else {
		parts = append(parts, fmt.Sprintf("%s read in %s", cli.Bytes(v.BytesRead), duration(v.Seconds)))
	}
	if v.Digests != nil && v.Digests.SHA256 != "" {
		parts = append(parts, "sha256 "+v.Digests.SHA256)
	}
	return strings.Join(parts, " · ")
}

func duration(seconds float64) time.Duration {
	d := time.Duration(seconds * float64(time.Second))
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}

// share formats 0 to 1 for people, without ever rounding to none or all.
func share(v float64) string {
	switch p := v * 100; {
	case v <= 0:
		return "0 %"
	case v >= 1:
		return "100 %"
	case p < 0.1:
		return "<0.1 %"
	case p > 99.9:
		return ">99.9 %"
	default:
		return fmt.Sprintf("%.1f %%", p)
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// plainError takes the operation and path out of a file error: the path stands in
// front of the message anyway.
func plainError(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func parameters(n int64) string {
	if n == 1 {
		return "1 parameter"
	}
	return cli.Count(n) + " parameters"
}
