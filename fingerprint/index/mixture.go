package index

import (
	"fmt"
	"math"
	"slices"

	"weightwarden/fingerprint"
)

const (
	mostParts   = 8    // matches that a mixture is sought among
	leastWeight = 0.08 // of a part of a mixture of three and more
	mostWeight  = 0.9
	commonShare = 0.8 // of the first match's tensors that a part must have in place
	worthwhile  = 0.8 // a further part must bring what is unexplained under this share
)

// part is one model of a mixture; index 0 is the match that it is named at.
type part struct {
	match      int // number among the matches
	weight, sd float64
}

// products are the inner products of one tensor's sums, all without their
// component along the first match: of the parts with each other and with the
// suspect, over the square of the first match's norm.
type products struct {
	parts   [][]float64
	suspect []float64
	square  float64
	length  int
}

// recipe finds the mixture of three and more matches that the suspect is, by least
// squares over the sums of layer T, one more part at a time: the one that leaves
// least unexplained. Nil where no mixture explains the suspect.
func recipe(found []candidate, fp *fingerprint.Fingerprint) []part {
	tensors, members := mixtureProducts(found, fp)
	if len(tensors) == 0 || len(members) < 2 {
		return nil
	}
	var chosen []int
	weights, sds, rest := []float64(nil), []float64(nil), math.Inf(1)
	for len(chosen) < len(members) {
		best, next := -1, rest*worthwhile
		for m := range members {
			if slices.Contains(chosen, m) {
				continue
			}
			if w, _, left := leastSquares(tensors, append(chosen[:len(chosen):len(chosen)], m)); w != nil && left < next {
				best, next = m, left
			}
		}
		if best < 0 {
			break
		}
		chosen = append(chosen, best)
		weights, sds, rest = leastSquares(tensors, chosen)
	}
	if len(chosen) < 2 || rest > mergedRest {
		return nil
	}
	return believable(members, chosen, weights, sds)
}

// believable returns the parts when every weight is one that a mixture has and
// stands out of the noise.
func believable(members, chosen []int, weights, sds []float64) []part {
	first := part{weight: 1}
	out := []part{first}
	for i, m := range chosen {
		if weights[i] < leastWeight || weights[i] > mostWeight || weights[i] < minZ*sds[i] {
			return nil
		}
		out = append(out, part{members[m], weights[i], sds[i]})
		out[0].weight -= weights[i]
		out[0].sd = math.Hypot(out[0].sd, sds[i])
	}
	if out[0].weight < leastWeight {
		return nil
	}
	return out
}

// mixtureProducts takes the suspect's tensors that the first match and the
// members, further matches, have in place.
func mixtureProducts(found []candidate, fp *fingerprint.Fingerprint) (out []products, members []int) {
	first := inPlace(fp, &found[0])
	var sums []map[int][]float32
	for i := 1; i < min(len(found), mostParts); i++ {
		own := inPlace(fp, &found[i])
		common := 0
		for s := range own {
			if _, ok := first[s]; ok {
				common++
			}
		}
		if float64(common) >= commonShare*float64(len(first)) {
			sums, members = append(sums, own), append(members, i)
		}
	}
	for s := range fp.Tensors {
		if p, ok := tensorProducts(s, fp, first, sums); ok {
			out = append(out, p)
		}
	}
	return out, members
}

func tensorProducts(s int, fp *fingerprint.Fingerprint, first map[int][]float32, sums []map[int][]float32) (products, bool) {
	r := first[s]
	if len(r) == 0 {
		return products{}, false
	}
	z := fp.Tensors[s].Sketch.Sum
	n := min(len(r), len(z))
	for _, of := range sums {
		n = min(n, len(of[s]))
	}
	r, z = folded(r, n), folded(z, n)
	rr := dot(r, r)
	if n == 0 || len(r) != n || len(z) != n || rr <= 0 {
		return products{}, false
	}
	z = without(z, r)
	var own [][]float32
	for _, of := range sums {
		q := folded(of[s], n)
		if len(q) != n {
			return products{}, false
		}
		own = append(own, without(q, r))
	}
	p := products{square: dot(z, z) / rr, length: n}
	for i := range own {
		row := make([]float64, len(own))
		for k := range own {
			row[k] = dot(own[i], own[k]) / rr
		}
		p.parts = append(p.parts, row)
		p.suspect = append(p.suspect, dot(own[i], z)/rr)
	}
	return p, true
}

// leastSquares returns the weights of the chosen parts that explain the suspect
// best, their standard deviations from what stays unexplained, and how much that
// is against the mean square of the parts. Nil weights: the parts are not
// independent.
func leastSquares(tensors []products, chosen []int) (weights, sds []float64, rest float64) {
	k := len(chosen)
	normal, right := newMatrix(k), make([]float64, k)
	for _, t := range tensors {
		for i, a := range chosen {
			right[i] += t.suspect[a]
			for j, b := range chosen {
				normal[i][j] += t.parts[a][b]
			}
		}
	}
	inverse := invert(normal)
	if inverse == nil {
		return nil, nil, 0
	}
	weights = times(inverse, right)
	noise, diagonal := newMatrix(k), 0.0
	for _, t := range tensors {
		left := t.square
		for i, a := range chosen {
			left -= 2 * weights[i] * t.suspect[a]
			for j, b := range chosen {
				left += weights[i] * weights[j] * t.parts[a][b]
			}
		}
		left = max(0, left)
		rest += left
		for i, a := range chosen {
			diagonal += t.parts[a][a]
			for j, b := range chosen {
				noise[i][j] += t.parts[a][b] * left / float64(t.length)
			}
		}
	}
	for i := range inverse {
		row := times(noise, inverse[i]) // the inverse is symmetric
		variance := 0.0
		for j := range row {
			variance += inverse[i][j] * row[j]
		}
		sds = append(sds, math.Sqrt(max(0, variance)))
	}
	return weights, sds, rest / max(diagonal/float64(k), 1e-300)
}

func newMatrix(n int) [][]float64 {
	m := make([][]float64, n)
	for i := range m {
		m[i] = make([]float64, n)
	}
	return m
}

func times(m [][]float64, v []float64) []float64 {
	out := make([]float64, len(m))
	for i := range m {
		for j := range v {
			out[i] += m[i][j] * v[j]
		}
	}
	return out
}

// invert returns the inverse of a small symmetric matrix by Gauss-Jordan
// elimination with pivoting, nil where it is singular as far as sums of 11
// significant bits can tell.
func invert(m [][]float64) [][]float64 {
	n := len(m)
	a := newMatrix(n)
	scale := 0.0
	for i := range m {
		a[i] = append(append([]float64(nil), m[i]...), make([]float64, n)...)
		a[i][n+i] = 1
		scale = max(scale, m[i][i])
	}
	for c := range n {
		pivot := c
		for r := c + 1; r < n; r++ {
			if math.Abs(a[r][c]) > math.Abs(a[pivot][c]) {
				pivot = r
			}
		}
		a[c], a[pivot] = a[pivot], a[c]
		if math.Abs(a[c][c]) <= invisible*scale {
			return nil
		}
		for j, d := 0, a[c][c]; j < 2*n; j++ {
			a[c][j] /= d
		}
		for r := range n {
			if f := a[r][c]; r != c && f != 0 {
				for j := range a[r] {
					a[r][j] -= f * a[c][j]
				}
			}
		}
	}
	for i := range a {
		a[i] = a[i][n:]
	}
	return a
}

// creditParts names the parts of a mixture at the first match.
func creditParts(found []candidate, parts []part) {
	first := &found[0].match
	first.Relation = fingerprint.Merged
	for _, p := range parts {
		m := &found[p.match].match
		name := m.Model + "@" + m.Version
		first.Evidence = append(first.Evidence, fingerprint.Evidence{Kind: "merge", Model: name, Value: p.weight, Unit: "weight",
			Text: fmt.Sprintf("a mixture: %.0f%% (± %.0f) of %s", 100*p.weight, 200*p.sd, name)})
	}
}
