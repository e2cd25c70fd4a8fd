package fingerprint

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"weightwarden/fingerprint/sketch"
)

// part is a suspect tensor that holds some rows of a registered one.
type part struct {
	suspect      int
	from, to     int64 // registered rows
	distance     float64
	hits, tested int
}

// parts lists the suspect tensors that say of themselves that they hold rows of a
// registered tensor, none of which another holds: what was split along its rows.
func (c *comparer) parts(t int, sides []*side, tried int) []part {
	r := c.reg.Tensors[t].Sketch
	var all []part
	add := func(s int, from int64, rows []sketch.Row) {
		k := c.sus.Tensors[s].Sketch
		d, n := meanDistance(r, rows)
		if k.Count >= r.Count || k.Places > 0 || n < minCommon || d > probeNear {
			return
		}
		p := part{suspect: s, from: from, to: min(from+k.Count, r.Count), distance: d}
		if p.hits, p.tested = nearestHits(r, rows); unlikely(p.hits, tried) {
			all = append(all, p)
		}
	}
	for _, k := range sides {
		if !k.transposed {
			add(k.tensor, 0, k.rows)
		}
	}
	for _, s := range c.segmented {
		segments := c.sus.Tensors[s].Sketch.Segments
		for i := range segments {
			if g := &segments[i]; g.Registered == t && g.Offset <= 0 {
				add(s, -g.Offset, g.Rows)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b part) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.distance, b.distance)) })
	var out []part
	for _, p := range all {
		if len(out) == 0 || p.from >= out[len(out)-1].to {
			out = append(out, p)
		}
	}
	return out
}

// unlikely reports whether an independent tensor has so many hits in the best of the
// alignments tried with a probability under 1e-4.
func unlikely(hits, tried int) bool {
	lg, _ := math.Lgamma(float64(hits + 1))
	return math.Log(float64(max(1, tried)))-lg <= math.Log(1e-4)
}

// creditParts books a registered tensor as found in several, where they hold more of
// it than the best one does.
func (c *comparer) creditParts(t int, parts []part) {
	f, rt := &c.found[t], &c.reg.Tensors[t]
	var rows, hits, tested int64
	var distance float64
	for _, p := range parts {
		n := p.to - p.from
		rows += n
		distance += p.distance * float64(n)
		hits += int64(p.hits)
		tested += int64(p.tested)
	}
	share := float64(rows) / float64(rt.Sketch.Count)
	if len(parts) < 2 || share <= f.share {
		return
	}
	distance /= float64(rows)
	st := &c.sus.Tensors[parts[0].suspect]
	f.share, f.suspect, f.hits, f.tested, f.aligned = share, parts[0].suspect, int(hits), int(tested), true
	f.others = nil
	for _, p := range parts[1:] {
		f.others = append(f.others, p.suspect)
	}
	f.cosine = math.Cos(math.Pi * distance)
	f.relation = relationOf(rt, st, distance, true)
	f.transform = fmt.Sprintf("rows of %d tensors", len(parts))
}
