package fingerprint

import (
	"math/bits"
	"slices"

	"weightwarden/fingerprint/sketch"
)

const (
	// screenFrom is the number of partners from which a registered tensor is
	// compared with all of them by one word of each row first.
	screenFrom = 24
	// screened is how many partners are compared in full after that. Which
	// alignment is tested may be chosen in any way: the bound counts all of them.
	screened = 4
	// bandedFrom is the number of partners from which only those are looked at that have bandedVotes bands of their rows
	// in common: where a quarter of the bits differ, nine of ten. No dense model has so many tensors of one width.
	bandedFrom  = 4096
	bandedVotes = 1
)

// side is one sample of rows: a registered tensor's, or a suspect's along one of
// its axes.
type side struct {
	tensor     int
	transposed bool
	rows       []sketch.Row
	places     uint64   // hash of the row numbers
	chosen     int64    // of how many places
	words      []uint64 // the first word of each row's bits
	empty      bool     // some rows are zero
}

func newSide(tensor int, transposed bool, rows []sketch.Row) side {
	s := side{tensor: tensor, transposed: transposed, rows: rows, words: make([]uint64, len(rows)), places: 14695981039346656037}
	for i := range rows {
		s.words[i] = rows[i].Bits[0]
		s.empty = s.empty || rows[i].Norm <= 0
		s.places = (s.places ^ uint64(rows[i].Index)) * 1099511628211
	}
	return s
}

// partners are the samples of a suspect by the length of their rows.
type partners struct {
	byLength map[int64][]side
	common   map[[2]uint64][][2]int // samples' places -> positions of the rows in both
	banded   map[int64]*banded
}

// banded are very many partners of one length.
type banded struct {
	table *bandTable
	tried int // alignments that the likely ones are chosen from
}

// newPartners lists every suspect tensor in both orientations, where columns of
// it were taken.
func newPartners(sus *Fingerprint) *partners {
	p := &partners{byLength: make(map[int64][]side), common: make(map[[2]uint64][][2]int), banded: make(map[int64]*banded)}
	for s := range sus.Tensors {
		k := sus.Tensors[s].Sketch
		if k == nil {
			continue
		}
		own := newSide(s, false, k.Aligned)
		own.chosen = k.Places
		p.byLength[k.Length] = append(p.byLength[k.Length], own)
		if len(k.Columns) > 0 {
			p.byLength[k.Count] = append(p.byLength[k.Count], newSide(s, true, k.Columns))
		}
	}
	return p
}

// positions returns where rows of the same number stand in both samples. Samples
// of as many rows are the same, so that a model has few different answers.
func (p *partners) positions(a, b *side) [][2]int {
	key := [2]uint64{a.places, b.places}
	if known, ok := p.common[key]; ok {
		return known
	}
	at := make(map[int64]int, len(b.rows))
	for i := range b.rows {
		at[b.rows[i].Index] = i
	}
	out := [][2]int{}
	for i := range a.rows {
		if k, ok := at[a.rows[i].Index]; ok {
			out = append(out, [2]int{i, k})
		}
	}
	p.common[key] = out
	return out
}

// nominated returns, where there are very many partners of that length, the numbers of the likely ones, and how many
// there are.
func (p *partners) nominated(r *side, length int64) (numbers []uint32, tried int) {
	b := p.banded[length]
	if b == nil {
		b = newBanded(p.byLength[length], length)
		p.banded[length] = b
	}
	return b.table.nominate(bandKeys(r.rows, length, 1, true), bandedVotes), b.tried
}

func newBanded(all []side, length int64) *banded {
	b := &banded{}
	for i := range all {
		b.tried += max(1, int(all[i].chosen))
	}
	b.table = newBandTable(len(all), func(yield func(uint64, int) bool) {
		for i := range all {
			for key := range bandKeys(all[i].rows, length, 1, true) {
				if !yield(key, i) {
					return
				}
			}
		}
	})
	return b
}

// candidates returns the sides worth a full comparison with r, and how many there
// were to choose from.
func (p *partners) candidates(r *side, length int64) (best []*side, tried int) {
	all := p.byLength[length]
	screen, many := len(all) > screenFrom, len(all) > bandedFrom
	var numbers []uint32
	n := len(all)
	if many {
		numbers, tried = p.nominated(r, length)
		n = len(numbers)
	}
	var distances [screened]float64
	for i := range n {
		s := &all[i]
		if many {
			s = &all[numbers[i]]
		}
		places := p.positions(r, s)
		if usable(r, s, places) < minCommon {
			continue
		}
		if !many {
			tried += max(1, int(s.chosen))
		}
		if !screen {
			best = append(best, s)
			continue
		}
		d := wordDistance(r, s, places)
		if len(best) == screened {
			if d >= distances[screened-1] {
				continue
			}
			best = best[:screened-1]
		}
		at := len(best) // of equally near ones the first stays in front
		for at > 0 && d < distances[at-1] {
			at--
		}
		best = slices.Insert(best, at, s)
		copy(distances[at+1:], distances[at:])
		distances[at] = d
	}
	return best, tried
}

// usable counts the common rows that are not zero on either side.
func usable(r, s *side, places [][2]int) int {
	if !r.empty && !s.empty {
		return len(places)
	}
	n := 0
	for _, at := range places {
		if r.rows[at[0]].Norm > 0 && s.rows[at[1]].Norm > 0 {
			n++
		}
	}
	return n
}

// wordDistance is the mean distance over the first word of the common rows, in bits.
func wordDistance(r, s *side, places [][2]int) float64 {
	sum := 0
	if r.places == s.places && len(r.words) == len(s.words) {
		for i, w := range r.words {
			sum += bits.OnesCount64(w ^ s.words[i])
		}
		return float64(sum) / float64(len(r.words))
	}
	for _, at := range places {
		sum += bits.OnesCount64(r.words[at[0]] ^ s.words[at[1]])
	}
	return float64(sum) / float64(len(places))
}
