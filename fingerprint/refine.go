package fingerprint

import (
	"context"
	"slices"

	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// Bounds of a refining read.
const (
	probeRows   = 12   // rows read to see whether a place is worth more
	probeNear   = 0.42 // share of bits: a cosine of .25
	mostPlaces  = 160  // places tried for one registered tensor in one suspect tensor
	mostRefined = 1 << 16
)

// Refine reads the suspect once more, at the places where the sampled rows of
// registered tensors that were not found should lie if tensors were fused, stacked
// or split along their rows. What it finds is added to suspect; Compare then sees
// it. It reads some dozen rows a place, so that it costs little even on large
// files. It reports whether anything was found, and nothing is wrong when not.
func Refine(ctx context.Context, m *formats.Model, registered, suspect *Fingerprint, opt Options) (bool, error) {
	key := opt.Key
	if key == nil {
		key = PublicKey()
	}
	if m == nil || registered.Scheme != suspect.Scheme || suspect.KeyID != key.ID() {
		return false, nil
	}
	r := &refiner{ctx: ctx, reg: registered, sus: suspect, maker: sketch.NewMaker(key.derive("sketch")),
		views: Views(m), budget: mostRefined, progress: opt.Progress}
	c := newComparer(registered, suspect)
	c.exact()
	c.sketches()
	found := false
	for t := range registered.Tensors {
		if err := ctx.Err(); err != nil {
			return found, err
		}
		k := registered.Tensors[t].Sketch
		if k == nil || registered.Tensors[t].Constant != "" || (c.found[t].share > 0.95 && c.found[t].relation != Reparameterised) {
			continue
		}
		if r.place(t, k) {
			found = true
		}
	}
	return found, nil
}

type refiner struct {
	ctx      context.Context
	reg, sus *Fingerprint
	maker    *sketch.Maker
	views    []quant.View
	budget   int // rows left to read
	progress func(int64)
}

// place tries all suspect tensors with rows of the same length.
func (r *refiner) place(t int, k *sketch.Tensor) bool {
	found := false
	for s := range r.sus.Tensors {
		x := r.sus.Tensors[s].Sketch
		if x == nil || x.Transposed || x.Length != k.Length || x.Count == k.Count || s >= len(r.views) {
			continue
		}
		reader, err := r.views[s].Reader()
		if err != nil {
			continue
		}
		for _, offset := range r.offsets(t, k, x) {
			if seg, ok := r.probe(t, k, x, reader, offset); ok {
				x.Segments = append(x.Segments, seg)
				found = true
				break
			}
			if r.budget <= 0 {
				return found
			}
		}
	}
	return found
}

// offsets lists where the registered tensor may begin in the suspect: behind
// others of its own size or of the sizes of its neighbours, or at the end; and
// which part of it the suspect may be.
func (r *refiner) offsets(t int, k, x *sketch.Tensor) []int64 {
	var out []int64
	add := func(o int64) {
		if !slices.Contains(out, o) && len(out) < mostPlaces {
			out = append(out, o)
		}
	}
	if x.Count < k.Count {
		// The suspect is a part: equal slices, whole or one of the end.
		for o := x.Count; o < k.Count; o += x.Count {
			add(-o)
		}
		add(-(k.Count - x.Count))
		return out
	}
	room := x.Count - k.Count
	add(room)
	sizes := []int64{0}
	for n := max(0, t-3); n < min(len(r.reg.Tensors), t+4); n++ {
		if o := r.reg.Tensors[n].Sketch; o != nil && o.Length == k.Length && !slices.Contains(sizes, o.Count) {
			sizes = append(sizes, o.Count)
		}
	}
	for _, a := range sizes {
		for o := a; o <= room; o += k.Count {
			if o > 0 {
				add(o)
			}
		}
	}
	return out
}

// probe reads a few rows at a place, and the whole sample if they are near.
func (r *refiner) probe(t int, k, x *sketch.Tensor, reader *quant.Reader, offset int64) (sketch.Segment, bool) {
	seg := sketch.Segment{Registered: t, Offset: offset}
	var wanted []sketch.Row
	for _, row := range k.Aligned {
		if at := row.Index + offset; at >= 0 && at < x.Count && row.Norm > 0 {
			wanted = append(wanted, row)
		}
	}
	if len(wanted) < minCommon {
		return seg, false
	}
	floats := make([]float32, x.Length)
	sum := 0
	for i := range wanted {
		if i == min(probeRows, len(wanted)) && float64(sum) > probeNear*float64(i*k.Buckets) {
			return seg, false
		}
		if r.budget--; r.budget < 0 {
			return seg, false
		}
		if err := reader.ReadRows(floats, wanted[i].Index+offset, 1); err != nil {
			return seg, false
		}
		if r.progress != nil {
			r.progress(x.Length)
		}
		row, ok := r.maker.RowOf(wanted[i].Index, floats)
		if !ok {
			continue
		}
		sum += hamming(&row.Bits, &wanted[i].Bits)
		seg.Rows = append(seg.Rows, row)
	}
	return seg, len(seg.Rows) >= minCommon && float64(sum) <= probeNear*float64(len(seg.Rows)*k.Buckets)
}
