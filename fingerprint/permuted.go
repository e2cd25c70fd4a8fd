package fingerprint

import (
	"math"
	"math/bits"

	"weightwarden/fingerprint/sketch"
)

const (
	permutedNear = 80      // bits of 256 that may differ in rows that are the same
	pairChance   = 9.4e-10 // of two independent rows to be that near
	// permutedPairs is how many pairs of tensors are compared, at a microsecond each. Where there are more, those with
	// permutedVotes bands of content rows in common are: by chance one pair in 6,000, of tensors whose rows differ in an
	// eighth of their bits nearly all, in a quarter most.
	permutedPairs = 1 << 20
	permutedVotes = 3
)

// permuted looks for rows of registered tensors that were not found in place
// among the suspect's largest rows.
func (c *comparer) permuted() {
	all, expected := c.permutedHits()
	if c.permHits == 0 {
		return
	}
	k := float64(c.permHits)
	c.permLogP = min(0, k-expected+k*math.Log(max(expected, 1e-300)/k))
	if c.permLogP > maxLogP {
		return
	}
	for _, h := range all {
		f := &c.found[h.registered]
		rt, st := c.reg.Tensors[h.registered].Sketch, c.sus.Tensors[h.suspect].Sketch
		f.share, f.suspect, f.relation, f.transform = min(1, float64(st.Count)/float64(rt.Count)), h.suspect, Reparameterised, "rows permuted"
		f.hits, f.tested = h.rows, len(rt.Content)
		f.cosine = math.Cos(math.Pi * float64(h.distance) / float64(h.rows*256))
	}
}

// permutedHit is a registered tensor with the suspect's tensor that has most of its largest rows.
type permutedHit struct{ registered, suspect, rows, proving, distance int }

// permutedHits returns those with rows enough, counts the rows that prove something, and tells how many pairs of rows
// are expected to be near by chance.
func (c *comparer) permutedHits() (all []permutedHit, expected float64) {
	sides := c.contentSides()
	for t := range c.reg.Tensors {
		if !c.wantsContent(t) {
			continue
		}
		r := c.reg.Tensors[t].Sketch
		best := permutedHit{registered: t, suspect: -1}
		alone := loners(r, permutedNear)
		for _, s := range sides.worth(r) {
			n, proving, distance := contentHits(r, c.sus.Tensors[s].Sketch, permutedNear, alone)
			if n > best.rows {
				best.suspect, best.rows, best.proving, best.distance = s, n, proving, distance
			}
		}
		expected += float64(len(r.Content)*sides.rows[r.Length]) * pairChance
		if best.rows >= minContent {
			all = append(all, best)
		}
		if best.proving >= minContent {
			c.permHits += best.proving
		}
	}
	return all, expected
}

// wantsContent reports whether a registered tensor is looked for by its largest rows.
func (c *comparer) wantsContent(t int) bool {
	r := c.reg.Tensors[t].Sketch
	return r != nil && r.Buckets == 256 && c.reg.Tensors[t].Constant == "" && c.found[t].share == 0
}

// contentSides are the suspect's tensors that may have rows of others, by the length of their rows.
type contentSides struct {
	sus     *Fingerprint
	tensors map[int64][]int
	rows    map[int64]int // of their content samples
	table   *bandTable    // nil: all are compared
	worthy  []int
}

func (c *comparer) contentSides() *contentSides {
	out := &contentSides{sus: c.sus, tensors: make(map[int64][]int), rows: make(map[int64]int)}
	taken := c.takenSuspects()
	for s := range c.sus.Tensors {
		k := c.sus.Tensors[s].Sketch
		if k == nil || taken[s] || k.Places > 0 {
			continue // a place that was chosen by such rows proves nothing by them
		}
		out.tensors[k.Length] = append(out.tensors[k.Length], s)
		out.rows[k.Length] += len(k.Content)
	}
	pairs := 0
	for t := range c.reg.Tensors {
		if c.wantsContent(t) {
			pairs += len(out.tensors[c.reg.Tensors[t].Sketch.Length])
		}
	}
	if pairs > permutedPairs {
		out.table = newBandTable(len(c.sus.Tensors), out.keys)
	}
	return out
}

// keys yields the bands of all content rows.
func (s *contentSides) keys(yield func(uint64, int) bool) {
	for length, tensors := range s.tensors {
		for _, t := range tensors {
			for key := range bandKeys(s.sus.Tensors[t].Sketch.Content, length, 4, false) {
				if !yield(key, t) {
					return
				}
			}
		}
	}
}

// worth returns the tensors to be compared with a registered one, in order. The result is good until the next call.
func (s *contentSides) worth(r *sketch.Tensor) []int {
	if s.table == nil {
		return s.tensors[r.Length]
	}
	s.worthy = s.worthy[:0]
	for _, n := range s.table.nominate(bandKeys(r.Content, r.Length, 4, false), permutedVotes) {
		if s.sus.Tensors[n].Sketch.Length == r.Length {
			s.worthy = append(s.worthy, int(n))
		}
	}
	return s.worthy
}

// minContent is how many of the largest rows must be found again in one tensor:
// rows of different tensors of one model share large directions, a few by chance.
const minContent = 6

// takenSuspects marks the suspect's tensors that are accounted for.
func (c *comparer) takenSuspects() []bool {
	out := make([]bool, len(c.sus.Tensors))
	for t := range c.found {
		if s := c.found[t].suspect; s >= 0 && c.found[t].share > 0 {
			out[s] = true
		}
		for _, s := range c.found[t].others {
			out[s] = true
		}
	}
	return out
}

// farHalf is how many of the first 128 bits differ in rows that cannot be near: of
// rows with 80 of 256 different, one in a million has as many there (mean 40,
// deviation 3.7), of unrelated ones six in seven.
const farHalf = 57

// loners marks the rows of r's content sample that no other of them is near to: of rows that are
// mostly zeros, or one direction, those of any model may be near.
func loners(r *sketch.Tensor, near int) (out [sketch.ContentRows]bool) {
	rows := r.Content[:min(len(r.Content), sketch.ContentRows)]
	for i := range rows {
		out[i] = true
		for k := range i {
			if hamming(&rows[i].Bits, &rows[k].Bits) <= near {
				out[i], out[k] = false, false
			}
		}
	}
	return out
}

// contentHits counts rows of r's content sample that have a near row in k's, each
// of its own; proving are those of them that are marked.
func contentHits(r, k *sketch.Tensor, near int, marked [sketch.ContentRows]bool) (n, proving, distance int) {
	var used [sketch.ContentRows]bool
	for i := range r.Content[:min(len(r.Content), sketch.ContentRows)] {
		best, at := near+1, -1
		for j := range k.Content[:min(len(k.Content), sketch.ContentRows)] {
			a, b := &r.Content[i].Bits, &k.Content[j].Bits
			half := bits.OnesCount64(a[0]^b[0]) + bits.OnesCount64(a[1]^b[1])
			if half > farHalf {
				continue
			}
			if d := half + bits.OnesCount64(a[2]^b[2]) + bits.OnesCount64(a[3]^b[3]); d < best && !used[j] {
				best, at = d, j
			}
		}
		if at < 0 {
			continue
		}
		used[at] = true
		n++
		distance += best
		if marked[i] {
			proving++
		}
	}
	return n, proving, distance
}
