package index

import (
	"cmp"
	"slices"

	"weightwarden/fingerprint"
)

// rank orders relations: how much of the story they tell.
func rank(r fingerprint.Relation) int {
	switch r {
	case fingerprint.Identical:
		return 0
	case fingerprint.Repackaged:
		return 1
	case fingerprint.Cast:
		return 2
	case fingerprint.Quantised:
		return 3
	case fingerprint.Merged:
		return 4
	case fingerprint.Derived:
		return 5
	case fingerprint.Partial:
		return 6
	}
	return 7
}

// attribute orders the matches: the model that explains the suspect best comes
// first.
func attribute(found []candidate, fp *fingerprint.Fingerprint) []fingerprint.Match {
	slices.SortStableFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(rank(a.match.Relation), rank(b.match.Relation)),
			cmp.Compare(b.match.Coverage.Parameters, a.match.Coverage.Parameters),
			cmp.Compare(meanCosineLoss(a.match.Tensors), meanCosineLoss(b.match.Tensors)),
			cmp.Compare(a.match.LogP, b.match.LogP))
	})
	out := make([]fingerprint.Match, len(found))
	for i := range found {
		out[i] = found[i].match
	}
	return out
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
