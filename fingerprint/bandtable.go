package fingerprint

import (
	"iter"
	"math/bits"
	"slices"

	"weightwarden/fingerprint/sketch"
)

// bandTable nominates tensors that may have rows in common with another: by bands, 16 neighbouring bits of a row's
// sketch. Of two rows with the share d of their bits different a band agrees with probability (1-d)^16, of unrelated ones
// with 1/65536. Models with tens of thousands of tensors (mixtures of experts) are not compared each with each
// otherwise. Buckets hold what falls into them, so a nomination is no evidence.
type bandTable struct {
	shift   uint
	first   []uint32 // of each bucket, in numbers
	numbers []uint32
	votes   []uint16 // scratch, by number
	voted   []uint32
}

// newBandTable makes a table of what keys yields, twice the same: keys of bands and the number, below count, that has it.
func newBandTable(count int, keys iter.Seq2[uint64, int]) *bandTable {
	total := 0
	for range keys {
		total++
	}
	size := max(1, bits.Len(uint(total)))
	t := &bandTable{shift: 64 - uint(size), first: make([]uint32, 1<<size+1), numbers: make([]uint32, total), votes: make([]uint16, count)}
	for key := range keys {
		t.first[key>>t.shift+1]++
	}
	for i := 1; i < len(t.first); i++ {
		t.first[i] += t.first[i-1]
	}
	next := slices.Clone(t.first)
	for key, n := range keys {
		t.numbers[next[key>>t.shift]] = uint32(n)
		next[key>>t.shift]++
	}
	return t
}

// nominate returns, in ascending order, the numbers with at least so many of the keys. The result is good until the
// next call.
func (t *bandTable) nominate(keys iter.Seq[uint64], least uint16) []uint32 {
	for _, n := range t.voted {
		t.votes[n] = 0
	}
	t.voted = t.voted[:0]
	for key := range keys {
		b := key >> t.shift
		for _, n := range t.numbers[t.first[b]:t.first[b+1]] {
			if t.votes[n] == 0 {
				t.voted = append(t.voted, n)
			}
			if t.votes[n] < 1<<16-1 {
				t.votes[n]++
			}
		}
	}
	out := t.voted[:0:0]
	for _, n := range t.voted {
		if t.votes[n] >= least {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// bandKeys yields the keys of the first words bands of four in each of rows; placed ones know the row's number.
func bandKeys(rows []sketch.Row, length int64, words int, placed bool) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for i := range rows {
			if rows[i].Norm <= 0 {
				continue
			}
			place := uint64(length)
			if placed {
				place ^= uint64(rows[i].Index+1) << 32
			}
			place = mixed(place)
			for w := range words {
				for band := range 4 {
					bits := rows[i].Bits[w] >> (16 * band) & 0xffff
					if !yield(mixed(place ^ uint64(w*4+band)<<16 ^ bits)) {
						return
					}
				}
			}
		}
	}
}

// mixed is the finaliser of splitmix64.
func mixed(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
