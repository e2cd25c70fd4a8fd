package fingerprint_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/fingerprint/sketch"
)

// many is more tensors of one width than are compared each with each.
const many = 4500

func experts(seed uint64) *fingerprint.Fingerprint {
	m := make([][2]int64, many)
	for i := range m {
		m[i] = [2]int64{128, 256}
	}
	return ft.Invented(seed, m, 1)
}

// noisy flips one bit in share of rows, and gives the file chunks and tensors of another order.
func noisy(f *fingerprint.Fingerprint, share int) {
	g := rand.New(rand.NewPCG(3, 4))
	flip := func(rows []sketch.Row) {
		for i := range rows {
			for b := range 256 {
				if g.IntN(share) == 0 {
					rows[i].Bits[b/64] ^= 1 << (b % 64)
				}
			}
		}
	}
	for i := range f.Tensors {
		flip(f.Tensors[i].Sketch.Aligned)
		flip(f.Tensors[i].Sketch.Content)
	}
	for i := range f.Pieces {
		for k := range f.Pieces[i].Chunks {
			f.Pieces[i].Chunks[k].Key[0] ^= 0xff
			f.Pieces[i].Chunks[k].Key[9] ^= 0xff
		}
	}
	slices.Reverse(f.Tensors)
}

// A mixture of thousands of experts is recognised though its tensors are not compared each with each: nearly all of
// them are found where an eighth of the bits of their rows differ, in place and permuted; of a stranger none.
func TestThousandsOfTensors(t *testing.T) {
	registered := experts(1)
	for name, c := range map[string]struct {
		seed     uint64
		share    int
		permuted bool
		least    float64
		relation fingerprint.Relation
	}{
		"in place":          {1, 8, false, .99, ""},
		"in place, coarse":  {1, 5, false, .9, ""},
		"permuted":          {1, 8, true, .99, fingerprint.Reparameterised},
		"permuted, coarser": {1, 6, true, .95, fingerprint.Reparameterised},
		"stranger":          {2, 8, false, 0, fingerprint.NoMatch},
	} {
		suspect := experts(c.seed)
		noisy(suspect, c.share)
		if c.permuted {
			other := experts(9)
			for i := range suspect.Tensors {
				suspect.Tensors[i].Sketch.Aligned = other.Tensors[i].Sketch.Aligned
			}
		}
		got := fingerprint.Compare(registered, suspect)
		right := 0
		for _, m := range got.Tensors {
			if m.Suspect == many-1-m.Registered {
				right++
			}
		}
		if float64(right) < c.least*many || c.least == 0 && (len(got.Tensors) > 0 || got.LogP < -20) || c.relation != "" && got.Relation != c.relation {
			t.Errorf("%s: %s, %d of %d tensors found, %d of them right, ln p %.0f", name, got.Relation, len(got.Tensors), many, right, got.LogP)
		}
	}
}

// Experts that began as copies have every chunk many times over: each of them is found, in time that does not grow with
// the square of their number.
func TestCopiedExperts(t *testing.T) {
	f := experts(1)
	for i := range f.Pieces {
		f.Pieces[i].Chunks = f.Pieces[0].Chunks
	}
	if got := fingerprint.Compare(f, f); got.Coverage.Tensors < 1 {
		t.Errorf("%s, %.3f of the tensors", got.Relation, got.Coverage.Tensors)
	}
}
