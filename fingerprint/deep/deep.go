// Package deep proves what layer I only suspects. With both files at hand it
// recovers the rotation (or permutation) of the residual stream from neurons that
// invariants matched, undoes it, and runs the aligned test, which has an exact
// bound, on matrices that took no part in the recovery.
//
// The rotation is the orthogonal Procrustes solution (Schönemann 1966) over the
// matched neurons of all feed-forward blocks; the test is on attention
// projections, row by row.
package deep

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/invariant"
	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// MaxWidth is the widest residual stream that is undone: the decomposition takes
// time with the third power and memory with the second.
const MaxWidth = 8192

// ErrNoBlocks means that the models have no feed-forward blocks to recover a
// rotation from, or blocks of different widths.
var ErrNoBlocks = errors.New("no feed-forward blocks of one width in both models")

// Result is what a deep comparison found.
type Result struct {
	Agreement invariant.Agreement // of layer I
	Neurons   int                 // matched neurons that the rotation was recovered from
	Fit       float64             // mean cosine of those neurons after it was undone
	Kind      string              // what the transformation is: "none", "permutation", "rotation"
	Tensors   []Tensor            // matrices tested after undoing
	Hits      int                 // rows whose nearest registered row is at the same place
	Tested    int
	LogP      float64 // ln of the bound on independent models agreeing as well; 0: no proof
	Proved    bool    // LogP is under ln 1e-12
}

// Tensor is one matrix tested.
type Tensor struct {
	Registered, Suspect string // names
	Hits, Tested        int
	Cosine              float64 // mean over the tested rows, after undoing
}

// side is one of the two models.
type side struct {
	views  []quant.View
	blocks []invariant.MLP
	sample []*invariant.Block
	layers []invariant.Layer
}

// Compare recovers, undoes and tests. Nothing found is a Result with Proved
// false; an error means that the comparison could not be made.
func Compare(ctx context.Context, registered, suspect *formats.Model) (*Result, error) {
	a, err := newSide(ctx, registered)
	if err != nil {
		return nil, fmt.Errorf("registered model: %w", err)
	}
	b, err := newSide(ctx, suspect)
	if err != nil {
		return nil, fmt.Errorf("suspect: %w", err)
	}
	width := a.blocks[0].Width
	if b.blocks[0].Width != width || width > MaxWidth {
		return nil, fmt.Errorf("%w: %d and %d, at most %d", ErrNoBlocks, width, b.blocks[0].Width, MaxWidth)
	}
	out := &Result{}
	agreement, ok := invariant.Compare(a.layers, b.layers)
	if !ok {
		return nil, fmt.Errorf("%w: fewer than three", ErrNoBlocks)
	}
	out.Agreement = agreement
	pairs := matchedNeurons(a, b, &agreement)
	r, err := procrustes(a, b, pairs, int(width))
	if err != nil {
		return out, nil // too few neurons agree: no proof, and no error
	}
	// The first fit finds more neurons, the second is made of those.
	pairs = nearestNeurons(a, b, agreement.Pairs, r)
	if r2, err := procrustes(a, b, pairs, int(width)); err == nil {
		r = r2
	}
	out.Neurons, out.Fit = len(pairs), fit(a, b, pairs, r)
	out.Kind = kindOf(r)
	return out, out.test(ctx, a, b, r)
}

func newSide(ctx context.Context, m *formats.Model) (*side, error) {
	s := &side{views: fingerprint.Views(m)}
	for _, blk := range invariant.Find(s.views) {
		if len(s.blocks) > 0 && blk.Width != s.blocks[0].Width {
			continue
		}
		sample, err := invariant.Sample(ctx, s.views, blk, true)
		if err != nil {
			return nil, err
		}
		if len(sample.Neurons) == 0 {
			continue // all zero, or not finite
		}
		s.blocks = append(s.blocks, blk)
		s.sample = append(s.sample, sample)
		s.layers = append(s.layers, sample.Layer(s.views[blk.Gate].Name))
	}
	if len(s.blocks) == 0 {
		return nil, ErrNoBlocks
	}
	return s, nil
}

// neuronPair is a neuron of the registered model with one of the suspect.
type neuronPair struct {
	layerA, layerB, a, b int
	negated              bool // the suspect's up and down vectors have the other sign
}

func matchedNeurons(a, b *side, agreement *invariant.Agreement) []neuronPair {
	var out []neuronPair
	for _, l := range agreement.Pairs {
		for _, n := range invariant.Agree(&a.layers[l[0]], &b.layers[l[1]], agreement.Negated) {
			out = append(out, neuronPair{l[0], l[1], n[0], n[1], agreement.Negated})
		}
	}
	return out
}

// matrices returns the vectors of a neuron that live in the residual stream.
func matrices(b *invariant.Block) [][][]float32 {
	if b.Up == nil {
		return [][][]float32{b.Gate, b.Down}
	}
	return [][][]float32{b.Gate, b.Up, b.Down}
}

// procrustes returns the orthogonal R that takes the registered neurons nearest to
// the suspect's: the polar factor of the sum of outer products of unit vectors.
func procrustes(a, b *side, pairs []neuronPair, width int) (*mat.Dense, error) {
	if len(pairs)*3 < width {
		return nil, errors.New("too few neurons")
	}
	m := mat.NewDense(width, width, nil)
	rowsA, rowsB := unitRows(a, b, pairs, width)
	m.Mul(rowsA.T(), rowsB)
	var svd mat.SVD
	if !svd.Factorize(m, mat.SVDThin) {
		return nil, errors.New("no decomposition")
	}
	var u, v, r mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	r.Mul(&u, v.T())
	return &r, nil
}

// unitRows stacks the pairs' vectors, each scaled to length one: scale moves
// between up and down, and signs of quantised zeros do not matter.
func unitRows(a, b *side, pairs []neuronPair, width int) (x, y *mat.Dense) {
	var dataA, dataB []float64
	for _, p := range pairs {
		ma, mb := matrices(a.sample[p.layerA]), matrices(b.sample[p.layerB])
		if len(ma) != len(mb) {
			continue
		}
		for k := range ma {
			dataA = appendUnit(dataA, ma[k][p.a])
			dataB = appendUnit(dataB, mb[k][p.b])
			if p.negated && k > 0 {
				negate(dataB[len(dataB)-width:])
			}
		}
	}
	n := len(dataA) / width
	return mat.NewDense(n, width, dataA), mat.NewDense(n, width, dataB)
}

func negate(v []float64) {
	for i := range v {
		v[i] = -v[i]
	}
}

func appendUnit(out []float64, v []float32) []float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		return append(out, make([]float64, len(v))...) // zero, or not finite: no evidence
	}
	for _, x := range v {
		out = append(out, float64(x)/math.Sqrt(sum))
	}
	return out
}

// nearestNeurons matches neurons anew, by their input vectors after the rotation:
// those that are each other's nearest, at a cosine of at least .3.
func nearestNeurons(a, b *side, layers [][2]int, r *mat.Dense) []neuronPair {
	var out []neuronPair
	for _, l := range layers {
		ga, gb := unitMatrix(a.sample[l[0]].Gate), unitMatrix(b.sample[l[1]].Gate)
		var turned, cos mat.Dense
		turned.Mul(ga, r)
		cos.Mul(&turned, gb.T())
		n, m := cos.Dims()
		bestOfA, bestOfB := make([]int, n), make([]int, m)
		for i := range n {
			for k := range m {
				if cos.At(i, k) > cos.At(i, bestOfA[i]) {
					bestOfA[i] = k
				}
				if cos.At(i, k) > cos.At(bestOfB[k], k) {
					bestOfB[k] = i
				}
			}
		}
		for i, k := range bestOfA {
			if bestOfB[k] == i && cos.At(i, k) >= 0.3 {
				out = append(out, neuronPair{l[0], l[1], i, k, opposite(a.sample[l[0]].Up, b.sample[l[1]].Up, i, k, r)})
			}
		}
	}
	return out
}

// opposite reports whether row i of x, turned, points away from row k of y. Without rows it says no.
func opposite(x, y [][]float32, i, k int, r *mat.Dense) bool {
	if x == nil || y == nil {
		return false
	}
	var turned mat.Dense
	turned.Mul(mat.NewDense(1, len(x[i]), appendUnit(nil, x[i])), r)
	return mat.Dot(turned.RowView(0), mat.NewVecDense(len(y[k]), appendUnit(nil, y[k]))) < 0
}

func unitMatrix(rows [][]float32) *mat.Dense {
	var data []float64
	for _, r := range rows {
		data = appendUnit(data, r)
	}
	return mat.NewDense(len(rows), len(data)/len(rows), data)
}

func fit(a, b *side, pairs []neuronPair, r *mat.Dense) float64 {
	if len(pairs) == 0 {
		return 0
	}
	width, _ := r.Dims()
	x, y := unitRows(a, b, pairs, width)
	var turned mat.Dense
	turned.Mul(x, r)
	n, _ := y.Dims()
	sum := 0.0
	for i := range n {
		sum += mat.Dot(turned.RowView(i), y.RowView(i))
	}
	return sum / float64(n)
}

// kindOf tells a permutation (with signs) from a rotation, by the largest entry of
// every row.
func kindOf(r *mat.Dense) string {
	n, _ := r.Dims()
	large, own := 0, 0
	for i := range n {
		best, at := 0.0, 0
		for j := range n {
			if v := math.Abs(r.At(i, j)); v > best {
				best, at = v, j
			}
		}
		if best > 0.5 {
			large++
		}
		if at == i {
			own++
		}
	}
	switch {
	case large < n*9/10:
		return "rotation"
	case own >= n*9/10:
		return "none"
	}
	return "permutation"
}

// layered returns the views that occur once a block, in file order, grouped by
// shape: attention projections, not embeddings or feed-forward matrices.
func (s *side) layered() map[[2]int64][]int {
	taken := make(map[int]bool)
	for _, m := range s.blocks {
		taken[m.Gate], taken[m.Up], taken[m.Down] = true, true, true
	}
	out := make(map[[2]int64][]int)
	for i := range s.views {
		v := &s.views[i]
		if !taken[i] && v.Rows >= 8 && v.Cols == s.blocks[0].Width {
			key := [2]int64{v.Rows, v.Cols}
			out[key] = append(out[key], i)
		}
	}
	for key, list := range out {
		if len(list) < len(s.blocks) {
			delete(out, key)
		}
	}
	return out
}

// norms lists the gain vectors near a view, and -1 for none.
func (s *side) norms(view int) []int {
	out := []int{-1}
	for i := max(0, view-10); i < min(len(s.views), view+11); i++ {
		if s.views[i].Rows == 1 && s.views[i].Cols == s.blocks[0].Width && !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	return out
}

// logProof is the bound from which a deep comparison is a proof.
var logProof = math.Log(1e-12)

// test runs the aligned test on every layered matrix after undoing the rotation.
func (out *Result) test(ctx context.Context, a, b *side, r *mat.Dense) error {
	ofA, ofB := a.layered(), b.layered()
	var tensors []fingerprint.Aligned
	keys := make([][2]int64, 0, len(ofA))
	for key := range ofA {
		if len(ofB[key]) == len(ofA[key]) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(x, y [2]int64) int { return slices.Compare(x[:], y[:]) })
	for _, key := range keys {
		for n, i := range ofA[key] {
			if err := ctx.Err(); err != nil {
				return err
			}
			t, tried, err := testTensor(a, b, i, ofB[key][n], r)
			if err != nil {
				return err
			}
			out.Tensors = append(out.Tensors, t)
			tensors = append(tensors, fingerprint.Aligned{Hits: t.Hits, Tested: t.Tested, Tried: tried})
		}
	}
	var m int
	out.LogP, m = fingerprint.AlignedBound(tensors, len(tensors))
	slices.SortStableFunc(tensors, func(x, y fingerprint.Aligned) int { return y.Hits - x.Hits })
	for _, t := range tensors[:m] {
		out.Hits += t.Hits
		out.Tested += t.Tested
	}
	out.Proved = out.LogP <= logProof
	return nil
}

// testedRows is how many rows of a matrix are tested.
const testedRows = 64

// testTensor compares rows of one matrix in both models, with each norm gain that
// may belong to it, as they are and whatever their signs, and keeps the best.
func testTensor(a, b *side, i, k int, r *mat.Dense) (Tensor, int, error) {
	best := Tensor{Registered: a.views[i].Name, Suspect: b.views[k].Name, Cosine: -1}
	tried := 0
	var turned []*mat.Dense
	for _, na := range a.norms(i) {
		x, err := readRows(a, i, na)
		if err != nil {
			return best, 0, err
		}
		var t mat.Dense
		t.Mul(x, r)
		turned = append(turned, &t)
	}
	for _, nb := range b.norms(k) {
		y, err := readRows(b, k, nb)
		if err != nil {
			return best, 0, err
		}
		for _, x := range turned {
			for _, signs := range []bool{false, true} {
				tried++
				hits, tested, cosine := alignedHits(x, y, signs)
				if hits > best.Hits || hits == best.Hits && cosine > best.Cosine {
					best.Hits, best.Tested, best.Cosine = hits, tested, cosine
				}
			}
		}
	}
	return best, tried, nil
}

// readRows reads evenly spread rows as unit vectors, with a gain folded in first.
func readRows(s *side, view, norm int) (*mat.Dense, error) {
	v := &s.views[view]
	var gain []float32
	if norm >= 0 {
		r, err := s.views[norm].Reader()
		if err != nil {
			return nil, err
		}
		gain = make([]float32, v.Cols)
		if err := r.ReadRows(gain, 0, 1); err != nil {
			return nil, err
		}
	}
	r, err := v.Reader()
	if err != nil {
		return nil, err
	}
	n := min(testedRows, v.Rows)
	row := make([]float32, v.Cols)
	var data []float64
	for i := range n {
		if err := r.ReadRows(row, i*v.Rows/n, 1); err != nil {
			return nil, err
		}
		for j := range gain {
			row[j] *= gain[j]
		}
		data = appendUnit(data, row)
	}
	return mat.NewDense(int(n), int(v.Cols), data), nil
}

// alignedHits counts the rows of y whose nearest row of x is at the same place, each with
// the sign that brings it nearer if signs are not to matter.
func alignedHits(x, y *mat.Dense, signs bool) (hits, tested int, cosine float64) {
	var cos mat.Dense
	cos.Mul(x, y.T())
	if signs {
		cos.Apply(func(_, _ int, v float64) float64 { return math.Abs(v) }, &cos)
	}
	n, _ := cos.Dims()
	sum := 0.0
	for k := range n {
		nearest := true
		for i := range n {
			if i != k && cos.At(i, k) >= cos.At(k, k) {
				nearest = false
				break
			}
		}
		if nearest {
			hits++
		}
		sum += cos.At(k, k)
	}
	return hits, n, sum / float64(n)
}
