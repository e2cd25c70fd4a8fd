package judge

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
	"weightwarden/internal/api"
)

// verdict puts what the registry matched into words. registry names the tensors
// of the registered model.
func (s *Subject) verdict(matches []fingerprint.Match, registry Matcher) *api.Verdict {
	v := &api.Verdict{
		SchemaVersion: api.SchemaVersion,
		Size:          s.Size,
		Format:        s.Format(),
		Verdict:       api.NoMatch,
		BytesRead:     s.Fingerprint.BytesRead,
		Evidence:      []api.Evidence{},
		Findings:      s.Findings,
	}
	best := pick(matches)
	if best < 0 {
		s.withoutMatch(v)
		return v
	}
	m := matches[best]
	v.Verdict = wordOf(m)
	v.Model, v.ModelVersion, v.Artifact, v.Kind = m.Model, m.Version, m.Artifact, m.Kind
	v.PValue, v.Confidence = Probability(m.LogP, m.Bound), 0
	if v.PValue != nil {
		v.Confidence = 1 - *v.PValue
	}
	v.Coverage = api.Coverage(m.Coverage)
	v.Evidence = Evidence(m.Evidence)
	if v.Verdict == api.PublicBase { // nothing is left to tell apart
		v.Evidence = slices.DeleteFunc(v.Evidence, func(e api.Evidence) bool { return e.Kind == fingerprint.Uneven })
	}
	if reg, ok := registry.Fingerprint(m.Model, m.Version, m.Artifact); ok {
		v.Tensors = TensorMap(m.Tensors, s.Fingerprint.Tensors, reg.Tensors)
		if s.Quick && (v.Verdict == api.Cast || v.Verdict == api.Derived) && sameRows(m.Tensors, s.Fingerprint.Tensors, reg.Tensors) {
			v.Verdict = api.Repackaged // no bit of what was read differs
		}
	}
	v.Sentence = sentence(v)
	if s.Quick {
		v.Sentence = strings.TrimSuffix(v.Sentence, ".") + ", judged by sampled rows."
	}
	for i, o := range matches {
		if i == best || !wordOf(o).IsHit() && wordOf(o) != api.PublicBase {
			continue
		}
		v.Others = append(v.Others, api.Other{Model: o.Model, ModelVersion: o.Version, Kind: o.Kind,
			Verdict: wordOf(o), Coverage: api.Coverage(o.Coverage), PValue: Probability(o.LogP, o.Bound)})
	}
	return v
}

// pick chooses the match that the verdict is about: the matcher's first one, but
// never a public model while a protected one is there bit for bit (an archive may
// hold both). -1 means none.
func pick(matches []fingerprint.Match) int {
	first := -1
	for i, m := range matches {
		w := wordOf(m)
		if first < 0 && (w.IsHit() || w == api.PublicBase) {
			first = i
		}
		if first >= 0 && wordOf(matches[first]) == api.PublicBase && (w == api.Identical || w == api.Repackaged) {
			return i
		}
	}
	return first
}

func wordOf(m fingerprint.Match) api.Word {
	w := api.Word(m.Relation)
	if w.IsHit() && m.Kind == api.KindPublic {
		return api.PublicBase
	}
	return w
}

// withoutMatch says NO-MATCH only of a file that was read in whole.
func (s *Subject) withoutMatch(v *api.Verdict) {
	unread := s.Unread()
	switch {
	case unread:
		v.Verdict = api.Inconclusive
		v.Sentence = "Nothing registered was found in what could be read, but parts of the file could not be read."
	case s.Size == 0:
		v.Sentence = "The file is empty."
	case s.Model == nil:
		v.Sentence = "No registered weights are in this file; no decoder knows its format, so only unchanged ones, and plain numbers one behind another, could be noticed."
	case s.Quick:
		v.Sentence = "Sampled rows match nothing registered."
	case len(s.Model.Tensors) == 0:
		v.Sentence = "No registered weights are in this file; it holds no tensors that a decoder could find."
	default:
		v.Sentence = "The weights in this file match nothing registered."
	}
}

// sameRows reports whether the sampled rows of all matched tensors have the same
// sketch, bit for bit, in the same number format. A quick look has no digests to
// tell an unchanged copy by.
func sameRows(in []fingerprint.TensorMatch, suspect, registered []fingerprint.Tensor) bool {
	for _, m := range in {
		if m.Suspect < 0 || m.Suspect >= len(suspect) || m.Registered < 0 || m.Registered >= len(registered) {
			return false
		}
		a, b := &suspect[m.Suspect], &registered[m.Registered]
		if a.DType != b.DType || a.Sketch == nil || b.Sketch == nil ||
			!slices.EqualFunc(a.Sketch.Aligned, b.Sketch.Aligned, func(x, y sketch.Row) bool { return x.Index == y.Index && x.Bits == y.Bits }) {
			return false
		}
	}
	return len(in) > 0
}

// leastCalibrated is the least that a bound says which controls were fitted to: how
// such a statistic behaves further out nobody has measured.
const leastCalibrated = 1e-9

// Probability is the bound on a false match as a plain number, at least the
// smallest that JSON readers hold, or that controls stand for; nil where there is
// none. bound says how it came about.
func Probability(logP float64, bound string) *float64 {
	if logP >= 0 || math.IsNaN(logP) {
		return nil
	}
	p := max(math.Exp(logP), 1e-300)
	if bound == "control-calibrated" {
		p = max(p, leastCalibrated)
	}
	return &p
}

// Evidence puts the facts of a comparison into the words of the wire.
func Evidence(in []fingerprint.Evidence) []api.Evidence {
	out := make([]api.Evidence, 0, len(in))
	for _, e := range in {
		out = append(out, api.Evidence{Kind: e.Kind, Text: e.Text, Value: finite(e.Value), Unit: e.Unit,
			PValue: Probability(e.LogP, e.Bound), Bound: e.Bound, Model: e.Model})
	}
	return out
}

// finite keeps what JSON cannot hold out of it.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// TensorMap puts names to the tensors of a comparison; pairs that name a tensor
// which is not there are left out.
func TensorMap(in []fingerprint.TensorMatch, suspect, registered []fingerprint.Tensor) []api.TensorMatch {
	var out []api.TensorMatch
	for _, t := range in {
		if t.Suspect < 0 || t.Suspect >= len(suspect) || t.Registered < 0 || t.Registered >= len(registered) {
			continue
		}
		out = append(out, api.TensorMatch{
			Suspect:    fullName(&suspect[t.Suspect]),
			Registered: fullName(&registered[t.Registered]),
			Relation:   tensorRelation(t),
			Transform:  t.Transform,
			Cosine:     finite(t.Cosine),
			Parameters: t.Parameters,
		})
	}
	return out
}

func fullName(t *fingerprint.Tensor) string {
	if t.Member == "" {
		return t.Name
	}
	return t.Member + "!" + t.Name
}

func tensorRelation(t fingerprint.TensorMatch) string {
	switch t.Relation {
	case fingerprint.Identical, fingerprint.Repackaged:
		return "exact"
	case fingerprint.Partial:
		return "chunks"
	}
	return strings.ToLower(string(t.Relation))
}

// sentence is the verdict for people.
func sentence(v *api.Verdict) string {
	name := v.Model
	if v.ModelVersion != "" {
		name += " version " + v.ModelVersion
	}
	share := percent(v.Coverage.Parameters)
	if v.Coverage.Parameters == 0 {
		share = percent(v.Coverage.Bytes)
	}
	owner := v.Kind + " model"
	if v.Kind == api.KindDataset {
		owner = "protected data set"
	}
	switch v.Verdict {
	case api.Identical:
		return fmt.Sprintf("This is the %s %s, byte for byte.", owner, name)
	case api.Repackaged:
		return fmt.Sprintf("The weights are those of the %s %s, unchanged, in another file (%s of them).", owner, name, share)
	case api.Partial:
		return fmt.Sprintf("Part of the %s %s is in this file: %s of its parameters.", owner, name, share)
	case api.Cast:
		return fmt.Sprintf("The weights are those of the %s %s in another number format (%s of them).", owner, name, share)
	case api.Quantised:
		return fmt.Sprintf("The weights are those of the %s %s, quantised (%s of them).", owner, name, share)
	case api.Derived:
		return fmt.Sprintf("The weights were derived from the %s %s: trained further, pruned or changed a little (%s of them).", owner, name, share)
	case api.Merged:
		return fmt.Sprintf("The weights are a mixture that contains the %s %s.", owner, name)
	case api.Reparameterised:
		if slices.ContainsFunc(v.Evidence, func(e api.Evidence) bool { return e.Kind == fingerprint.Uneven }) {
			return fmt.Sprintf("The weights agree unevenly with the %s %s, as those of models trained apart from one random start do, or of a copy trained very far; a person should look at this.", owner, name)
		}
		if slices.ContainsFunc(v.Evidence, func(e api.Evidence) bool { return e.Kind == fingerprint.Kin }) {
			return fmt.Sprintf("The weights were trained on from the %s %s, or from the same public model on much the same data; a person should look at this.", owner, name)
		}
		return fmt.Sprintf("The weights look like the %s %s with rows, columns or scales rearranged; a person should look at this.", owner, name)
	case api.PublicBase:
		return fmt.Sprintf("The weights match the public model %s only (%s of them).", name, share)
	}
	return ""
}

func percent(share float64) string {
	p := share * 100
	switch {
	case p >= 99.95 && share < 1:
		return "almost all"
	case p > 0 && p < 0.1:
		return "under 0.1 %"
	case p == math.Trunc(p) || p >= 99.95:
		return fmt.Sprintf("%.0f %%", p)
	}
	return fmt.Sprintf("%.1f %%", p)
}

// severities in the order people need them.
var severityOrder = map[string]int{string(formats.Danger): 0, string(formats.Unread): 1, string(formats.Warning): 2, string(formats.Info): 3}

// SeverityRank orders findings for people: the gravest is 0.
func SeverityRank(severity string) int {
	if r, ok := severityOrder[severity]; ok {
		return r
	}
	return len(severityOrder)
}
