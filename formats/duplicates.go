package formats

import (
	"hash/maphash"
	"slices"
)

// Duplicates returns the indexes of tensors whose name an earlier one has: other
// readers keep one of the two, not always the same. It sorts hashes instead of
// holding a set of names, which would take several times the memory.
func Duplicates(tensors []Tensor) []int {
	seed := maphash.MakeSeed()
	sums := make([]uint64, len(tensors))
	for i := range tensors {
		sums[i] = maphash.String(seed, tensors[i].Name)
	}
	slices.Sort(sums)
	again := map[uint64]bool{}
	for i := 1; i < len(sums); i++ {
		if sums[i] == sums[i-1] {
			again[sums[i]] = true
		}
	}
	if len(again) == 0 {
		return nil
	}
	seen := map[string]bool{}
	var out []int
	for i := range tensors {
		if name := tensors[i].Name; again[maphash.String(seed, name)] {
			if seen[name] {
				out = append(out, i)
			}
			seen[name] = true
		}
	}
	return out
}
