package fingerprint

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// Weights need no header: all of a model flattened into one tensor, or its numbers
// alone, written one behind another, are the model still. Where unchanged bytes are
// found that is enough; after a cast there are none, and nothing says where a matrix
// begins. So rows of registered matrices are looked for at every place of samples of
// such a run, and where one lies, its matrix and then its neighbours are tried.

// Bounds of searching a run.
const (
	seedNear    = 0.3     // share of bits: a cosine of .59
	placeNear   = 0.42    // the same for the whole sample, as in Refine
	mostGrown   = 1 << 14 // matrices placed in one file
	mostTried   = 1 << 17 // places tried in one file, however many a file makes look right
	mostGaps    = 12      // distances tried between neighbours
	certain     = 0.1     // nothing nearer need be looked for
	growRows    = 6       // rows read to see which matrix lies there
	lengthsEach = 3       // lengths of rows that are looked for, of a model
	mostLengths = 24      // and of all
)

// AddDumped looks in the runs of m for matrices of the registered models and adds what
// it finds to suspect: further tensors, without bytes of their own, that Compare then
// sees. Each says of how many places it was chosen, and the bound counts them all. m is
// what suspect was computed from, nil where no decoder read it; opt is what it was
// computed with.
func AddDumped(ctx context.Context, m *formats.Model, suspect *Fingerprint, registered []*Fingerprint, opt Options) (*Added, error) {
	d := &dump{Added: newAdded(suspect, opt), ctx: ctx, registered: registered, placed: make(map[place]bool)}
	viewOf := viewsByTensor(m, d.own)
	for _, r := range runsOf(m, suspect.Loose) {
		d.run, d.covered, d.of = r, nil, viewOf[r.tensor]
		clear(d.placed)
		for _, length := range lengthsOf(registered) {
			if err := d.search(length); err != nil {
				return d.Added, err
			}
		}
	}
	return d.Added, nil
}

// viewsByTensor tells which view a tensor of the model is read through, where there are as
// many views as the fingerprint has tensors.
func viewsByTensor(m *formats.Model, views int) map[int][]int {
	out := make(map[int][]int)
	if m == nil {
		return out
	}
	if all := quant.Views(m); len(all) == views {
		for i, v := range all {
			for _, t := range v.Tensors {
				out[t] = []int{i}
			}
		}
	}
	return out
}

// lengthsOf returns the lengths of most rows of each registered model, weighed by elements:
// first the longest part of every model, then the second of each.
func lengthsOf(registered []*Fingerprint) []int64 {
	var turns [lengthsEach][]int64
	for _, fp := range registered {
		weight := make(map[int64]float64)
		eachEvidence(fp, func(_ int, k *sketch.Tensor) { weight[k.Length] += float64(k.Length) * float64(k.Count) })
		own := slices.SortedFunc(maps.Keys(weight), func(a, b int64) int { return cmp.Or(cmp.Compare(weight[b], weight[a]), cmp.Compare(a, b)) })
		for i, n := range own[:min(len(own), lengthsEach)] {
			turns[i] = append(turns[i], n)
		}
	}
	var out []int64
	for _, n := range slices.Concat(turns[:]...) {
		if !slices.Contains(out, n) && len(out) < mostLengths {
			out = append(out, n)
		}
	}
	return out
}

// eachEvidence calls f with the matrices of a fingerprint whose rows are evidence.
func eachEvidence(fp *Fingerprint, f func(t int, k *sketch.Tensor)) {
	for t := range fp.Tensors {
		if k := fp.Tensors[t].Sketch; k != nil && !k.Transposed && fp.Tensors[t].Constant == "" {
			f(t, k)
		}
	}
}

// dump is the search of one file.
type dump struct {
	*Added
	ctx        context.Context
	registered []*Fingerprint
	run        run
	of         []int     // tensors of the fingerprint that the run is
	covered    []stretch // of the run, by what was placed
	placed     map[place]bool
	tried      int
}

// stretch is a part of a run, in elements.
type stretch struct{ from, to int64 }

// place is a registered matrix at a place of a run.
type place struct {
	model, tensor int
	from          int64 // element; below 0 where a run begins amid the matrix
}

func (p place) end(k *sketch.Tensor) int64 { return p.from + k.Count*k.Length }

// try reads the sampled rows of a registered matrix at a place, and adds it when they
// are near.
func (d *dump) try(p place) bool {
	k := d.registered[p.model].Tensors[p.tensor].Sketch
	if d.placed[p] || d.isCovered(p.from, p.end(k)) || len(d.readings) >= mostGrown || d.tried >= mostTried {
		return false
	}
	d.placed[p] = true
	d.tried++
	as := reading{run: d.run, first: p.from, Shape: Shape{k.Count, k.Length}, places: d.run.elements, of: d.of}
	if !d.near(as, k) {
		return false
	}
	s, err := d.sketch(d.ctx, as, false)
	if err != nil {
		return false
	}
	if distance, n := meanDistance(k, s.Aligned); n < minCommon || distance > placeNear {
		return false
	}
	d.add(as, s)
	d.covered = append(d.covered, stretch{max(0, p.from), min(p.end(k), d.run.elements)})
	return true
}

// near reads a few rows first.
func (d *dump) near(as reading, k *sketch.Tensor) bool {
	sum, n := 0, 0
	for _, have := range k.Aligned {
		if n == growRows {
			break
		}
		if row, ok := d.rowAt(as, have.Index); ok && have.Norm > 0 {
			sum += hamming(&row.Bits, &have.Bits)
			n++
		}
	}
	return n > 0 && float64(sum) <= placeNear*float64(n*k.Buckets)
}

// rowAt sketches one row of a reading.
func (d *dump) rowAt(as reading, i int64) (sketch.Row, bool) {
	d.floats = slices.Grow(d.floats[:0], int(as.Cols))[:as.Cols]
	if d.read(&as, d.floats, i) != nil {
		return sketch.Row{}, false
	}
	return d.maker.RowOf(i, d.floats)
}

// isCovered reports whether most of a stretch is taken.
func (d *dump) isCovered(from, to int64) bool {
	from, to = max(0, from), min(to, d.run.elements)
	taken := int64(0)
	for _, s := range d.covered {
		taken += max(0, min(to, s.to)-max(from, s.from))
	}
	return to <= from || taken > (to-from)/2
}

// grow tries what may lie before and behind a placed matrix, and what lies beside that.
func (d *dump) grow(p place) {
	gaps := gapsOf(d.registered[p.model])
	shapes := shapesOf(d.registered[p.model])
	for todo := []place{p}; len(todo) > 0 && d.ctx.Err() == nil; {
		p, todo = todo[len(todo)-1], todo[:len(todo)-1]
		end := p.end(d.registered[p.model].Tensors[p.tensor].Sketch)
		if next, ok := d.neighbour(p.model, shapes, gaps, func(gap, _ int64) int64 { return end + gap }); ok {
			todo = append(todo, next)
		}
		if next, ok := d.neighbour(p.model, shapes, gaps, func(gap, size int64) int64 { return p.from - gap - size }); ok {
			todo = append(todo, next)
		}
	}
}

// neighbour looks for the matrix at one of several distances: the nearest one, since rows
// of one matrix may be so alike that it seems to lie some rows off, too.
func (d *dump) neighbour(model int, shapes map[Shape][]int, gaps []int64, from func(gap, size int64) int64) (place, bool) {
	best, least := place{}, placeNear
	for _, gap := range gaps {
		for _, shape := range slices.SortedFunc(maps.Keys(shapes), compareShapes) {
			at := from(gap, shape.Rows*shape.Cols)
			if at+shape.Rows*shape.Cols <= 0 || at >= d.run.elements || d.isCovered(at, at+shape.Rows*shape.Cols) {
				continue
			}
			t, distance := d.nearest(model, shapes[shape], reading{run: d.run, first: at, Shape: shape})
			if distance < least {
				best, least = place{model, t, at}, distance
			}
			if least < certain {
				return best, d.try(best)
			}
		}
	}
	return best, least < placeNear && d.try(best)
}

func compareShapes(a, b Shape) int {
	return cmp.Or(cmp.Compare(b.Rows*b.Cols, a.Rows*a.Cols), cmp.Compare(a.Cols, b.Cols))
}

// nearest returns which of several matrices of one shape is the nearest at a place, and the
// share of bits that differ.
func (d *dump) nearest(model int, tensors []int, as reading) (int, float64) {
	sums := make([]int, len(tensors))
	sample := d.registered[model].Tensors[tensors[0]].Sketch.Aligned
	n := 0
	for rank := 0; rank < len(sample) && n < growRows; rank++ {
		row, ok := d.rowAt(as, sample[rank].Index)
		if !ok {
			continue
		}
		n++
		for i, t := range tensors {
			if a := d.registered[model].Tensors[t].Sketch.Aligned; rank < len(a) {
				sums[i] += hamming(&row.Bits, &a[rank].Bits)
			}
		}
	}
	if n == 0 {
		return 0, 1
	}
	best := 0
	for i := range sums {
		if sums[i] < sums[best] {
			best = i
		}
	}
	k := d.registered[model].Tensors[tensors[best]].Sketch
	return tensors[best], float64(sums[best]) / float64(n*k.Buckets)
}

// shapesOf lists the matrices of a model by shape.
func shapesOf(fp *Fingerprint) map[Shape][]int {
	out := make(map[Shape][]int)
	eachEvidence(fp, func(t int, k *sketch.Tensor) {
		s := Shape{k.Count, k.Length}
		out[s] = append(out[s], t)
	})
	return out
}

// gapsOf lists how far apart neighbours may lie: what is no matrix of a model, norms and
// biases, once or twice.
func gapsOf(fp *Fingerprint) []int64 {
	small := []int64{0}
	for i := range fp.Tensors {
		t := &fp.Tensors[i]
		if n := t.Parameters; (t.Sketch == nil || t.Constant != "") && n > 0 && n < math.MaxInt32 && !slices.Contains(small, n) && len(small) < 5 {
			small = append(small, n)
		}
	}
	var out []int64
	for _, a := range small {
		for _, b := range small {
			if !slices.Contains(out, a+b) {
				out = append(out, a+b)
			}
		}
	}
	slices.Sort(out)
	return out[:min(len(out), mostGaps)]
}

// label names the numbers that a matrix was read from.
func (as *reading) label() string {
	if as.places == 0 {
		return as.run.name
	}
	if as.run.name == "" {
		return fmt.Sprintf("bytes from %d as %s", as.run.offset+as.first/as.run.block*as.run.size, as.run.dtype)
	}
	return fmt.Sprintf("%s[%d:%d]", as.run.name, max(0, as.first), min(as.run.elements, as.first+as.Rows*as.Cols))
}
