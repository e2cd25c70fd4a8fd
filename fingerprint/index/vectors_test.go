package index

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestHostileVectors: counts beyond the section's end are refused, and all others stay within it.
func TestHostileVectors(t *testing.T) {
	section := func(vectors int, counts ...uint32) []byte {
		var b []byte
		for _, n := range counts {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
		return append(b, make([]byte, vectors*vectorBytes)...)
	}
	for _, c := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"as written", section(3, 1, 2), true},
		{"none", section(0, 0, 0), true},
		{"more than counted", section(9, 1, 2), true},
		{"one too many", section(2, 1, 2), false},
		{"wrapped", section(3, 1<<32-1, 4), false},
		{"cut vector", section(3, 1, 2)[:8+3*vectorBytes-1], false},
		{"cut counts", section(0, 0), false},
		{"empty", nil, false},
	} {
		v, err := decodeVectors(c.b, 2)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrRegistry) {
			t.Errorf("%s: %v", c.name, err)
		}
		for i := range 2 {
			if v != nil && len(v.of(i)) != int(v.counts[i]) {
				t.Errorf("%s: entry %d has %d vectors", c.name, i, len(v.of(i)))
			}
		}
	}
}

// TestStandOut: of models that are as alike as chance makes them a few are compared, and all of a family.
func TestStandOut(t *testing.T) {
	chance := make([]float64, 1000)
	g := rand.New(rand.NewPCG(1, 1))
	for i := range chance {
		chance[i] = 80 + 5*g.NormFloat64()
	}
	family := func(size int, likeness float64) []float64 {
		out := slices.Clone(chance)
		for i := range size {
			out[i*7] = likeness + g.NormFloat64()
		}
		return out
	}
	for _, c := range []struct {
		name     string
		likeness []float64
		want     int
	}{
		{"chance", chance, leastLikely},
		{"one", family(1, 800), leastLikely},
		{"a family", family(30, 800), 30},
		{"a family far away", family(30, 150), 30},
		{"a large family", family(140, 800), mostLikely},
		{"all alike", make([]float64, 100), mostLikely},
		{"two", []float64{1, 2}, 2},
	} {
		got := standOut(c.likeness)
		if len(got) != c.want {
			t.Errorf("%s: %d are compared, want %d", c.name, len(got), c.want)
		}
		if !slices.IsSortedFunc(got, func(i, k int) int { return cmp.Compare(c.likeness[k], c.likeness[i]) }) {
			t.Errorf("%s: not the most alike first", c.name)
		}
	}
}
