package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"weightwarden/internal/api"
)

// tone is the colour family of a verdict: "hit", "review", "clear".
func tone(w api.Word) string {
	switch {
	case w == api.Reparameterised || w == api.Inconclusive:
		return "review"
	case w.IsHit():
		return "hit"
	}
	return "clear"
}

// odds says in plain words how likely a match this good is by accident.
func odds(p *float64) string {
	if p == nil {
		return ""
	}
	if *p > 1e-3 {
		return fmt.Sprintf("A file made independently would match as well as this in at most %.2g of 100 cases.", *p*100)
	}
	exponent := int(math.Floor(-math.Log10(*p)))
	if exponent >= 290 {
		return "A file made independently would not match like this: the bound on the chance is below one in 10^290."
	}
	return fmt.Sprintf("If every file ever made were judged, an independent one would be expected to match as well as this less than once in 10^%d (%s) files.",
		exponent, scale(exponent))
}

// scale puts a power of ten into words.
func scale(exponent int) string {
	names := []string{"one", "a thousand", "a million", "a billion", "a trillion", "a quadrillion", "a quintillion", "a sextillion"}
	if exponent >= 24 {
		return "more than there are grains of sand on Earth"
	}
	word := names[exponent/3]
	switch exponent % 3 {
	case 1:
		return "ten times " + word
	case 2:
		return "a hundred times " + word
	}
	return word
}

// bound explains how a probability was bounded.
func bound(name string) string {
	switch name {
	case "digest":
		return "Cryptographic digests (BLAKE3) of the same bytes are equal. Different bytes with the same digest are not known and cannot be made with any known means."
	case "exchangeable-poisson":
		return "Sampled rows of the suspect are compared with those of the registered model. If the two were made independently, the order of the rows would be exchangeable, " +
			"so the chance of finding so many at the right place has an exact upper bound (Poisson) that needs no assumption about the weights."
	case "control-calibrated":
		return "The statistic was compared with the same statistic of models that are known to be independent. The bound is as good as these controls, and never taken to be below one in a billion."
	case "":
		return ""
	}
	return "Bounded by " + name + "."
}

// meaning says what a verdict does and does not mean, for a reader who decides
// what to do about it.
func meaning(w api.Word) string {
	switch w {
	case api.Identical, api.Repackaged:
		return "The weights themselves are the same numbers. This does not come about by accident or by training a similar model; the file was copied or converted from the registered model, or both come from the same source."
	case api.Partial:
		return "A part of the registered model is in the file. The rest may be missing, cut away, replaced, or in another file of the same set."
	case api.Cast, api.Quantised:
		return "The numbers are those of the registered model, written with fewer or other bits. Converting a model does this; training a model of one's own does not."
	case api.Derived:
		return "The file was made from the registered model and then changed: by further training, pruning, noise, or adapters merged in. A model trained from its own random start does not keep the registered one's rows."
	case api.Merged:
		return "The weights are a weighted sum in which the registered model takes part."
	case api.Reparameterised:
		return "The file matches after rows, columns or scales are rearranged, or very unevenly, which the evidence says. This raises a question and does not settle it: compare the two files with 'fpcheck compare --deep' for a proof."
	case api.PublicBase:
		return "The weights are those of a model that anyone may have. Nothing protected was found."
	case api.NoMatch:
		return "Everything in the file was read and nothing registered is in it. This does not say that the model was made independently: a model trained on another one's answers carries none of its weights."
	case api.Inconclusive:
		return "What could be read matches nothing registered, but parts of the file that could hold weights were not read. Do not take this for a clear result."
	}
	return ""
}

// share formats 0 to 1, without ever rounding to none or all.
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

// width is the length of a bar in CSS percent.
func width(v float64) string {
	return strconv.FormatFloat(math.Max(0, math.Min(1, v))*100, 'f', 2, 64)
}

func shape(dims []int64) string {
	parts := make([]string, len(dims))
	for i, d := range dims {
		parts[i] = strconv.FormatInt(d, 10)
	}
	return strings.Join(parts, "×")
}

// part is one line of the mixture chart.
type part struct {
	Model, Text string
	Value       float64
}

// isMixture names the evidence that says which models a file is made of, and how
// much of each.
func isMixture(e api.Evidence) bool { return e.Kind == "merge" || e.Kind == "delta" }

// mixture is the evidence on merge weights and deltas.
func mixture(v *api.Verdict) []part {
	var out []part
	for _, e := range v.Evidence {
		if isMixture(e) {
			model := e.Model
			if model == "" {
				model = v.Model + "@" + v.ModelVersion
			}
			out = append(out, part{model, e.Text, e.Value})
		}
	}
	return out
}

// plainEvidence is all other evidence.
func plainEvidence(v *api.Verdict) []api.Evidence {
	var out []api.Evidence
	for _, e := range v.Evidence {
		if !isMixture(e) {
			out = append(out, e)
		}
	}
	return out
}

// byInvariants reports whether a match rests on invariants and on nothing that has a
// place.
func byInvariants(v *api.Verdict) bool {
	return len(v.Tensors) == 0 && slices.ContainsFunc(v.Evidence, func(e api.Evidence) bool { return e.Kind == "invariants" })
}
