package index

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/invariant"
)

const (
	vectorBytes = 128

	// A large registry's models are compared by their invariants in the order of their vectors: the first
	// few, and more where as many stand out nearly as far, as versions of one model do.
	leastLikely = 4
	mostLikely  = 64
	nearlyAs    = .75
	clearly     = 9 // times what the upper quarter of all is above the middle: 6 standard deviations of chance
)

// vectors are the layer vectors of a segment's entries as stored: u32 numbers of layers, one for each
// entry, then the vectors. Registries made before there were any have none.
type vectors struct {
	counts []uint32
	first  []int // of each entry, in vectors
	bytes  []byte
}

// encodeVectors makes the section of vectors.
func encodeVectors(entries []Entry) []byte {
	var counts, out bytes.Buffer
	waves := invariant.NewWaves()
	for i := range entries {
		writeVectors(&counts, &out, waves.Vectors(entries[i].Fingerprint.Layers))
	}
	return append(counts.Bytes(), out.Bytes()...)
}

// writeVectors writes those of one entry.
func writeVectors(counts, out *bytes.Buffer, list []invariant.Vector) {
	counts.Write(binary.LittleEndian.AppendUint32(counts.AvailableBuffer(), uint32(len(list))))
	for _, v := range list {
		for _, word := range v {
			out.Write(binary.LittleEndian.AppendUint64(out.AvailableBuffer(), word))
		}
	}
}

func decodeVectors(b []byte, entries int) (*vectors, error) {
	if len(b) < 4*entries {
		return nil, fmt.Errorf("%w: layer vectors of %d entries in %d bytes", ErrRegistry, entries, len(b))
	}
	v := &vectors{counts: make([]uint32, entries), first: make([]int, entries), bytes: b[4*entries:]}
	have, left := 0, len(v.bytes)/vectorBytes
	for i := range entries {
		n := binary.LittleEndian.Uint32(b[4*i:])
		if uint64(n) > uint64(left-have) {
			return nil, fmt.Errorf("%w: entry %d: %d layer vectors, %d are left", ErrRegistry, i, n, left-have)
		}
		v.counts[i], v.first[i] = n, have
		have += int(n)
	}
	return v, nil
}

// of returns an entry's vectors.
func (v *vectors) of(entry int) []invariant.Vector {
	out := make([]invariant.Vector, v.counts[entry])
	b := v.bytes[v.first[entry]*vectorBytes:]
	for i := range out {
		for w := range out[i] {
			out[i][w] = binary.LittleEndian.Uint64(b)
			b = b[8:]
		}
	}
	return out
}

// nominateLayers returns the entries whose invariants are worth a comparison with those of fp: all of
// a small registry, else those whose layer vectors are most like fp's.
func (db *DB) nominateLayers(ctx context.Context, fp *fingerprint.Fingerprint) []ref {
	var unknown, refs []ref
	db.each(func(r ref, _ *Entry) {
		switch v := db.segments[r.segment].vectors; {
		case v == nil:
			unknown = append(unknown, r)
		case v.counts[r.entry] > 0:
			refs = append(refs, r)
		}
	})
	if len(refs) <= bruteForce {
		return append(unknown, refs...)
	}
	own := invariant.NewWaves().Vectors(fp.Layers)
	likeness := make([]float64, len(refs))
	eachOf(ctx, len(refs), func(i int) {
		likeness[i] = invariant.Likeness(db.segments[refs[i].segment].vectors.of(refs[i].entry), own)
	})
	for _, i := range standOut(likeness) {
		unknown = append(unknown, refs[i])
	}
	return unknown
}

// standOut returns the numbers of the likenesses that are worth a comparison, falling.
func standOut(likeness []float64) []int {
	order := make([]int, len(likeness))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, k int) int { return cmp.Compare(likeness[k], likeness[i]) })
	usual, upper := likeness[order[len(order)/2]], likeness[order[len(order)/4]]
	least := max(usual+nearlyAs*(likeness[order[0]]-usual), usual+clearly*(upper-usual))
	n := min(leastLikely, len(order))
	for n < min(mostLikely, len(order)) && likeness[order[n]] >= least {
		n++
	}
	return order[:n]
}
