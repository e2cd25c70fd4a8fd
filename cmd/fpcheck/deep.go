package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"weightwarden/fingerprint/deep"
	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/internal/judge"
)

// deepResult is what compare --deep adds to the JSON.
type deepResult struct {
	Kind    string       `json:"kind"`    // what was undone: "none", "permutation", "rotation"
	Neurons int          `json:"neurons"` // matched, from which it was recovered
	Fit     float64      `json:"fit"`     // their mean cosine afterwards
	Hits    int          `json:"hits"`    // rows that are nearest to the row at the same place, afterwards
	Tested  int          `json:"tested"`
	PValue  *float64     `json:"p_value,omitempty"`
	Proved  bool         `json:"proved"`
	Tensors []deepTensor `json:"tensors"`
	Note    string       `json:"note,omitempty"` // why nothing could be undone
}

type deepTensor struct {
	A      string  `json:"a"`
	B      string  `json:"b"`
	Hits   int     `json:"hits"`
	Tested int     `json:"tested"`
	Cosine float64 `json:"cosine"`
}

// look undoes a permutation or rotation and tests what remains.
func (c *compared) look(ctx context.Context, a, b *loaded) error {
	if a.model == nil || b.model == nil {
		return errors.New("--deep needs two files that a decoder reads, not fingerprints")
	}
	r, err := deep.Compare(ctx, a.model, b.model)
	if errors.Is(err, deep.ErrNoBlocks) {
		c.Deep = &deepResult{Kind: "none", Tensors: []deepTensor{}, Note: err.Error()}
		return nil
	}
	if err != nil {
		return err
	}
	kind := r.Kind
	if kind == "" {
		kind = "none"
	}
	c.Deep = &deepResult{Kind: kind, Neurons: r.Neurons, Fit: r.Fit, Hits: r.Hits, Tested: r.Tested,
		PValue: judge.Probability(r.LogP, "exchangeable-poisson"), Proved: r.Proved, Tensors: []deepTensor{}}
	for _, t := range r.Tensors {
		c.Deep.Tensors = append(c.Deep.Tensors, deepTensor{t.Registered, t.Suspect, t.Hits, t.Tested, t.Cosine})
	}
	if !r.Proved {
		return nil
	}
	c.Evidence = append(c.Evidence, api.Evidence{Kind: "deep", Value: float64(r.Hits), Unit: "rows", PValue: c.Deep.PValue, Bound: "exchangeable-poisson",
		Text: fmt.Sprintf("%s recovered from %d neurons, %d of %d rows of %d matrices that took no part in it are nearest to the row of A at the same place",
			undone(kind), r.Neurons, r.Hits, r.Tested, len(r.Tensors))})
	if !c.Verdict.IsHit() || c.Verdict == api.Reparameterised {
		c.Verdict, c.PValue, c.Bound = api.Reparameterised, c.Deep.PValue, "exchangeable-poisson"
		c.Confidence = 1 - math.Exp(r.LogP)
	}
	return nil
}

// undone begins the sentence that says what was undone.
func undone(kind string) string {
	if kind == "none" {
		return "with the inner coordinates as they are, as"
	}
	return "after undoing a " + kind
}

func (d *deepResult) print(env *cli.Env, s cli.Style) {
	w := env.Stdout
	if d.Note != "" {
		fmt.Fprintf(w, "\ndeep: nothing could be undone: %s\n", cli.PrintableLine(d.Note))
		return
	}
	word := s.Green("not proved")
	if d.Proved {
		word = s.Red("PROVED")
	}
	fmt.Fprintf(w, "\ndeep: %s. Undone: %s, recovered from %s (mean cosine afterwards %.3f); %d of %d rows are at their place\n", word, d.Kind,
		cli.Plural(d.Neurons, "neuron", "neurons"), d.Fit, d.Hits, d.Tested)
	t := &cli.Table{Right: []bool{false, false, true, true}}
	t.Row("TENSOR OF A", "IS IN B", "ROWS", "COSINE")
	for i, x := range d.Tensors {
		if i == tensorsShown {
			break
		}
		t.Row(x.A, x.B, fmt.Sprintf("%d/%d", x.Hits, x.Tested), fmt.Sprintf("%.3f", x.Cosine))
	}
	if len(d.Tensors) > 0 {
		t.Print(w, s)
	}
}
