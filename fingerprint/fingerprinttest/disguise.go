package fingerprinttest

import (
	"math"
	"math/rand/v2"
)

// Disguise rotates the residual stream by a random orthogonal matrix, reorders
// the neurons and moves scale from up to down: nothing of the original stays in
// place.
func Disguise(net []Matrix, seed uint64) []Matrix {
	rng := rand.New(rand.NewPCG(seed, 9))
	d := net[0].Cols
	r := orthogonal(rng, d)
	var out []Matrix
	for l := 0; l+7 <= len(net); l += 7 {
		x := net[l : l+7]
		for _, m := range x[:3] {
			out = append(out, right(m, r))
		}
		out = append(out, left(r, x[3]))
		perm := rng.Perm(x[4].Rows)
		scale := make([]float64, len(perm))
		for i := range scale {
			scale[i] = math.Exp(rng.NormFloat64() * 0.3)
		}
		gate, up, down := right(x[4], r), right(x[5], r), left(r, x[6])
		out = append(out, rows(gate, perm, nil), rows(up, perm, scale), columns(down, perm, scale))
	}
	return out
}

// Negate gives all matrices of a network but the gates the other sign, which leaves what it computes as it is:
// queries meet keys, values the output, up meets down.
func Negate(net []Matrix) []Matrix {
	out := Map(net, func(v float32) float32 { return -v })
	for l := 0; l+7 <= len(net); l += 7 {
		out[l+4] = net[l+4]
	}
	return out
}

func orthogonal(rng *rand.Rand, d int) [][]float64 {
	q := make([][]float64, d)
	for i := range q {
		q[i] = make([]float64, d)
		for j := range q[i] {
			q[i][j] = rng.NormFloat64()
		}
		for range 2 { // Gram-Schmidt, twice for accuracy
			for k := range i {
				s := 0.0
				for j := range d {
					s += q[i][j] * q[k][j]
				}
				for j := range d {
					q[i][j] -= s * q[k][j]
				}
			}
		}
		n := 0.0
		for _, v := range q[i] {
			n += v * v
		}
		for j := range d {
			q[i][j] /= math.Sqrt(n)
		}
	}
	return q
}

// right multiplies the rows of m by r.
func right(m Matrix, r [][]float64) Matrix {
	out := Matrix{Name: m.Name, Rows: m.Rows, Cols: m.Cols, Data: make([]float32, len(m.Data))}
	for i := range m.Rows {
		acc := make([]float64, m.Cols)
		for k := range m.Cols {
			v := float64(m.Data[i*m.Cols+k])
			for j := range m.Cols {
				acc[j] += v * r[k][j]
			}
		}
		for j, v := range acc {
			out.Data[i*m.Cols+j] = float32(v)
		}
	}
	return out
}

// left multiplies the columns of m by r transposed.
func left(r [][]float64, m Matrix) Matrix {
	t := Transpose([]Matrix{m})[0]
	return Transpose([]Matrix{right(t, r)})[0]
}

func rows(m Matrix, perm []int, scale []float64) Matrix {
	out := Matrix{Name: m.Name, Rows: m.Rows, Cols: m.Cols, Data: make([]float32, len(m.Data))}
	for i, p := range perm {
		s := 1.0
		if scale != nil {
			s = scale[i]
		}
		for j := range m.Cols {
			out.Data[i*m.Cols+j] = float32(s) * m.Data[p*m.Cols+j]
		}
	}
	return out
}

func columns(m Matrix, perm []int, scale []float64) Matrix {
	inverse := make([]float64, len(scale))
	for i, s := range scale {
		inverse[i] = 1 / s
	}
	return Transpose([]Matrix{rows(Transpose([]Matrix{m})[0], perm, inverse)})[0]
}

// Related mixes gate into up and down, differently for every neuron.
func Related(net []Matrix, seed uint64) []Matrix {
	rng := rand.New(rand.NewPCG(seed, 10))
	for l := 0; l+7 <= len(net); l += 7 {
		gate, up, down := net[l+4], net[l+5], net[l+6]
		for i := range gate.Rows {
			a, b := rng.NormFloat64()*0.2, rng.NormFloat64()*0.2
			for j := range gate.Cols {
				g := float64(gate.Data[i*gate.Cols+j])
				up.Data[i*up.Cols+j] += float32(a * g)
				down.Data[j*down.Cols+i] += float32(b * g)
			}
		}
	}
	return net
}
