package main

import (
	"fmt"
	"html"
	"strings"
)

// rowResults are the cells of one transformation.
type rowResults struct {
	name  string
	cells []result
}

func byRow(results []result) []rowResults {
	var out []rowResults
	at := map[string]int{}
	for _, r := range results {
		i, ok := at[r.Row]
		if !ok {
			i = len(out)
			at[r.Row] = i
			out = append(out, rowResults{name: r.Row})
		}
		out[i].cells = append(out[i].cells, r)
	}
	return out
}

// mark is a cell in a word: what was said, and whether that was right.
func mark(r result) string {
	switch {
	case r.err != nil:
		return "error: " + r.err.Error()
	case !r.found:
		return "**" + string(r.verdict.Verdict) + "** (missed)"
	}
	return string(r.verdict.Verdict)
}

func markdown(results []result) string {
	var b strings.Builder
	found, words := 0, 0
	for _, r := range results {
		if r.found {
			found++
		}
		if r.exact {
			words++
		}
	}
	b.WriteString("# Evasion matrix\n\nMade by `make matrix`: every file was written by the tool named, from the really trained models of testdata, and judged\n")
	b.WriteString("as `fpcheck` judges, with two independent models of the same architecture registered as protected beside the right one.\n")
	b.WriteString("A cell is right when the file is a hit on the right model, or rightly none. Verdicts other than REPARAMETERISED are given at a\nbound of 1e-9 for the whole registry or less (`docs/fingerprint-spec.md`); `docs/nulls.md` measures what independent models reach.\n\n")
	fmt.Fprintf(&b, "**%d of %d cells right; %d of them with the best word.**\n\n![the matrix](evasion-matrix.svg)\n", found, len(results), words)
	for _, row := range byRow(results) {
		fmt.Fprintf(&b, "\n## %s\n\n| file | verdict | model | of its parameters | bound on p | bytes read | size | seconds | made by |\n|---|---|---|---|---|---|---|---|---|\n", row.name)
		for _, c := range row.cells {
			if c.err != nil {
				fmt.Fprintf(&b, "| %s | %s | | | | | | | %s |\n", c.Column, mark(c), c.Tool)
				continue
			}
			v := c.verdict
			p := ""
			if v.PValue != nil {
				p = fmt.Sprintf("%.0e", *v.PValue)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %.1f %% | %s | %d | %d | %.3f | %s |\n", c.Column, mark(c), v.Model,
				100*v.Coverage.Parameters, p, v.BytesRead, v.Size, v.Seconds, c.Tool)
		}
	}
	return b.String()
}

// picture draws a square a cell: dark where the word was right too, light where
// only the model was, red where the copy was missed.
func picture(results []result) string {
	rows := byRow(results)
	most := 0
	for _, r := range rows {
		most = max(most, len(r.cells))
	}
	const size, left, top = 84, 190, 30
	w, h := left+most*size+20, top+len(rows)*34+50
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11"><rect width="%d" height="%d" fill="#fff"/>`, w, h, w, h)
	for y, row := range rows {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" font-size="13">%s</text>`, left-10, top+y*34+20, html.EscapeString(row.name))
		for x, c := range row.cells {
			colour, ink := "#1b7f4d", "#fff"
			switch {
			case c.err != nil || !c.found:
				colour = "#c0392b"
			case !c.exact:
				colour, ink = "#a8dcc0", "#123"
			}
			said := "error"
			if c.err == nil {
				said = string(c.verdict.Verdict)
			}
			fmt.Fprintf(&b, `<g><title>%s: %s</title><rect x="%d" y="%d" width="%d" height="30" rx="3" fill="%s"/><text x="%d" y="%d" text-anchor="middle" fill="%s">%s</text><text x="%d" y="%d" text-anchor="middle" fill="%s" font-size="8">%s</text></g>`,
				html.EscapeString(c.Column), said, left+x*size, top+y*34, size-4, colour, left+x*size+size/2-2, top+y*34+14, ink,
				html.EscapeString(short(c.Column, 13)), left+x*size+size/2-2, top+y*34+25, ink, said)
		}
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d">green: recognised · light: recognised, another word than the best · red: missed or wrong</text></svg>`, left, h-16)
	return b.String() + "\n"
}

func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
