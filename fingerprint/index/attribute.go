package index

import (
	"cmp"
	"fmt"
	"slices"

	"weightwarden/fingerprint"
)

// Thresholds of attribution, on lambda: what share of a protected model's own
// training is in the suspect. Children of one base share drift: a sibling that
// moved as far as the protected child reaches .07, one that moved five times as far
// reaches .4. So a share is believed where the suspect moved mostly along the
// child's own direction (rho), or where all of it is there, no more and no less,
// and never on its significance alone.
const (
	minLambda   = 0.15
	minRho      = 0.35
	minRhoMixed = 0.1 // where a stranger was mixed in, whose clipped outliers stay behind
	wholeLow    = 0.75
	wholeHigh   = 1.3
	minZ        = 4
	mergedLow   = 0.15
	mergedHigh  = 0.85
	mergedRest  = 0.1 // of |p-b|^2 that a mixture may leave unexplained
)

// attribute settles which of several related models the suspect is, or is made
// of: the protected model or only the public base it was trained from, the
// parent or the child, one model or a mixture. The best explanation comes first;
// protected models of which nothing of their own was found are left out, with
// the reason among the evidence of what remains.
func (db *DB) attribute(found []candidate, fp *fingerprint.Fingerprint) []fingerprint.Match {
	order(found)
	db.findOwn(found, fp)
	found = dropBaseOnly(found, fp)
	rankByDelta(found, fp)
	nameMixture(found, fp)
	reviewKin(found)
	protectedFirst(found)
	out := make([]fingerprint.Match, len(found))
	for i := range found {
		out[i] = found[i].match
	}
	return out
}

// order sorts by how much of the story a match tells.
func order(found []candidate) {
	slices.SortStableFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(rank(a.match.Relation), rank(b.match.Relation)),
			cmp.Compare(b.match.Coverage.Parameters, a.match.Coverage.Parameters),
			cmp.Compare(meanCosineLoss(a.match.Tensors), meanCosineLoss(b.match.Tensors)),
			cmp.Compare(a.match.LogP, b.match.LogP))
	})
}

// rank orders relations.
func rank(r fingerprint.Relation) int {
	order := []fingerprint.Relation{fingerprint.Identical, fingerprint.Repackaged, fingerprint.Cast, fingerprint.Quantised,
		fingerprint.Merged, fingerprint.Derived, fingerprint.Partial, fingerprint.Reparameterised}
	if i := slices.Index(order, r); i >= 0 {
		return i
	}
	return len(order)
}

// meanCosineLoss is how far the matched tensors are from the registered ones.
func meanCosineLoss(tensors []fingerprint.TensorMatch) float64 {
	sum, n := 0.0, 0.0
	for _, t := range tensors {
		sum += (1 - t.Cosine) * float64(t.Parameters)
		n += float64(t.Parameters)
	}
	if n == 0 {
		return 1
	}
	return sum / n
}

// dropBaseOnly leaves out protected models that match only through a public model
// they have in common with the suspect.
func dropBaseOnly(found []candidate, fp *fingerprint.Fingerprint) []candidate {
	var out []candidate
	notes := make(map[int][]fingerprint.Evidence)
	for i := range found {
		p := &found[i]
		drop := false
		if p.match.Kind == "protected" && p.match.Relation != fingerprint.Identical && !p.own {
			for k := range found {
				b := &found[k]
				if b.match.Kind != "public" {
					continue
				}
				e, only, kin, ok := baseOnly(fp, p, b, found)
				if ok && kin != "" {
					p.kin = kin
				}
				if !ok {
					continue
				}
				if only {
					notes[k] = append(notes[k], e)
					drop = true
					break
				}
				p.match.Evidence = append(p.match.Evidence, e)
			}
		}
		if !drop {
			out = append(out, *p)
		}
	}
	for k, es := range notes {
		for i := range out {
			if out[i].reg == found[k].reg {
				out[i].match.Evidence = append(out[i].match.Evidence, es...)
			}
		}
	}
	return out
}

// baseOnly measures whether the suspect has anything of p that the public b has
// not.
func baseOnly(fp *fingerprint.Fingerprint, p, b *candidate, all []candidate) (e fingerprint.Evidence, only bool, kin string, ok bool) {
	ts := triples(fp, p, b, all)
	if 2*len(ts) < sketched(p) {
		e, only, kin = byRows(fp, p, b)
		return e, only, kin, true
	}
	name := p.match.Model + "@" + p.match.Version
	base := b.match.Model + "@" + b.match.Version
	d, measured := measure(ts)
	e = fingerprint.Evidence{Kind: "delta", Value: d.lambda, Unit: "lambda", Model: name}
	if !measured {
		e.Text = fmt.Sprintf("%s differs from the public %s by less than the sketches see: the file may be either", name, base)
		return e, rank(p.match.Relation) > rank(fingerprint.Repackaged), "", true
	}
	if d.isOwn() {
		e.Text = fmt.Sprintf("%.0f%% (± %.0f) of what training added to %s over the public %s is in this file (z = %.0f)",
			100*d.lambda, 200*d.sd, name, base, d.z())
		if d.uneven {
			kin = unevenShares
		}
		return e, false, kin, true
	}
	e.Text = fmt.Sprintf("the file is near the public %s; of what training added to %s over it, %.0f%% (± %.0f) is here: the public model or another child of it",
		base, name, 100*d.lambda, 200*d.sd)
	if d.lambda >= minLambda && d.z() >= 2*minZ && d.even {
		return e, false, evenShares, true
	}
	return e, true, "", true
}

// sketched is how many of the tensors found have rows.
func sketched(p *candidate) (n int) {
	for _, m := range p.match.Tensors {
		if p.reg.Tensors[m.Registered].Sketch != nil {
			n++
		}
	}
	return max(n, 1)
}

// isOwn reports whether the delta shows the protected model's own training.
func (d delta) isOwn() bool {
	least := minRho
	if d.mixed {
		least = minRhoMixed
	}
	whole := d.lambda >= wholeLow && d.lambda <= wholeHigh
	return d.lambda >= minLambda && d.z() >= minZ && (d.rho >= least || whole)
}

// rankByDelta puts the nearer of two related models first: a parent and its
// child both match a copy of either.
func rankByDelta(found []candidate, fp *fingerprint.Fingerprint) {
	for i := 1; i < len(found); i++ {
		for k := i; k > 0; k-- {
			above, below := &found[k-1], &found[k]
			if rank(above.match.Relation) <= rank(fingerprint.Repackaged) || below.match.Coverage.Parameters < 0.5*above.match.Coverage.Parameters {
				break
			}
			d, ok := measure(triples(fp, below, above, nil))
			if !ok || d.lambda <= 0.5 || d.z() < minZ {
				break
			}
			found[k-1], found[k] = found[k], found[k-1]
		}
	}
}

// nameMixture recognises a suspect that lies between its two best matches, or among
// more of them.
func nameMixture(found []candidate, fp *fingerprint.Fingerprint) {
	if len(found) < 2 {
		return
	}
	first := &found[0]
	if r := first.match.Relation; r != fingerprint.Derived && r != fingerprint.Quantised && r != fingerprint.Cast {
		return
	}
	if parts := recipe(found, fp); parts != nil {
		creditParts(found, parts)
		for i := range found {
			found[i].kin = ""
		}
		return
	}
	if slices.ContainsFunc(found, func(c candidate) bool { return c.kin != "" }) {
		return // training along the same way looks like a mixture with the base
	}
	for i := 1; i < len(found); i++ {
		d, ok := measure(triples(fp, first, &found[i], nil))
		if !ok || d.lambda < mergedLow || d.lambda > mergedHigh || d.z() < minZ || d.rest > mergedRest {
			continue
		}
		creditParts(found, []part{{0, d.lambda, d.sd}, {i, 1 - d.lambda, d.sd}})
		return
	}
}

// Why a person should look.
const (
	unevenShares = "the shares of that training differ from tensor to tensor by more than conversion, pruning or mixing explains: the file was trained on from the protected model, or by somebody else from the same public model on much the same data"
	evenShares   = "all tensors have about the same share of that training, as copies have that were mixed with something else, pruned or trained far, and others that were trained from the same public model on much the same data"
)

// halfRows is for sampled rows that lie between the two.
const halfRows = "the sampled rows found lie between the protected model and the public one: copies in few bits or trained on do so, and models trained from the same public model on much the same data"

// reviewKin leaves it to a person whether a file that has a protected model's training in uneven
// shares was trained on from it, or by somebody else from the same base on the same data: the sketches of both
// look alike, and only one is a copy.
func reviewKin(found []candidate) {
	for i := range found {
		m := &found[i].match
		if found[i].kin == "" || rank(m.Relation) <= rank(fingerprint.Repackaged) {
			continue
		}
		m.Relation = fingerprint.Reparameterised
		m.Evidence = append(m.Evidence, fingerprint.Evidence{Kind: fingerprint.Kin, Text: found[i].kin})
	}
}

// protectedFirst puts what holds protected training before a public model that
// explains as much, unless the file is that public model bit for bit.
func protectedFirst(found []candidate) {
	if len(found) == 0 || found[0].match.Kind != "public" || rank(found[0].match.Relation) <= rank(fingerprint.Repackaged) {
		return
	}
	relation, evidence := found[0].match.Relation, found[0].match.Evidence
	slices.SortStableFunc(found, func(a, b candidate) int {
		return cmp.Compare(public(a), public(b))
	})
	if relation == fingerprint.Merged && public(found[0]) == 0 {
		found[0].match.Relation = fingerprint.Merged
		for _, e := range evidence {
			if e.Kind == "merge" {
				found[0].match.Evidence = append(found[0].match.Evidence, e)
			}
		}
	}
}

func public(c candidate) int {
	if c.match.Kind == "public" {
		return 1
	}
	return 0
}
