package invariant

import (
	"cmp"
	"context"
	"math"
	"slices"

	"weightwarden/fingerprint/internal/simd"
	"weightwarden/formats/quant"
)

// Sampled is how many neurons of a layer are kept: those with the largest input
// projection, whose order survives every change that the invariants survive.
const Sampled = 192

// maxFloats bounds a batch of rows held in memory, and a core's second-level cache holds it.
const maxFloats = 1 << 16

// Block is the sampled part of one feed-forward block, as numbers: what the
// invariants are made of, and what undoing a rotation needs.
type Block struct {
	MLP
	Neurons []int64     // numbers of the sampled neurons, by falling norm of Gate
	Gate    [][]float32 // rows, gains folded in
	Up      [][]float32 // rows, gains folded in; nil for two-matrix blocks
	Down    [][]float32 // columns
}

// Sample reads the sampled neurons of a block. It reads every weight of it once,
// and the sampled rows again; memory is that of the sample.
func Sample(ctx context.Context, views []quant.View, m MLP, fold bool) (*Block, error) {
	gain, err := gains(views, m, fold)
	if err != nil {
		return nil, err
	}
	gate, err := newProjection(views, m.Gate, 0, m)
	if err != nil {
		return nil, err
	}
	norms, err := gate.norms(ctx, gain)
	if err != nil {
		return nil, err
	}
	b := &Block{MLP: m, Neurons: largest(norms, Sampled)}
	if b.Gate, err = gate.rows(ctx, b.Neurons, gain); err != nil {
		return nil, err
	}
	if m.Up >= 0 || m.Fused {
		at, first := m.Up, int64(0)
		if m.Fused {
			at, first = m.Gate, m.Hidden
		}
		up, err := newProjection(views, at, first, m)
		if err != nil {
			return nil, err
		}
		if b.Up, err = up.rows(ctx, b.Neurons, gain); err != nil {
			return nil, err
		}
	}
	b.Down, err = columns(ctx, views, m, b.Neurons)
	return b, err
}

// gains reads the norm's gain vector; nil where there is none or it is not wanted.
func gains(views []quant.View, m MLP, fold bool) ([]float32, error) {
	if m.Norm < 0 || !fold {
		return nil, nil
	}
	r, err := views[m.Norm].Reader()
	if err != nil {
		return nil, err
	}
	g := make([]float32, m.Width)
	return g, r.ReadRows(g, 0, 1)
}

// projection reads neurons' input weights, whichever way they are stored.
type projection struct {
	r     *quant.Reader
	m     MLP
	first int64 // neuron 0 is this row (or column) of the matrix
	cols  int64 // of the matrix
}

func newProjection(views []quant.View, at int, first int64, m MLP) (*projection, error) {
	r, err := views[at].Reader()
	return &projection{r: r, m: m, first: first, cols: views[at].Cols}, err
}

// norms returns the norm of every neuron's weights with the gains folded in.
func (p *projection) norms(ctx context.Context, gain []float32) ([]float64, error) {
	if gain == nil {
		gain = slices.Repeat([]float32{1}, int(p.m.Width))
	}
	sums := make([]float64, p.m.Hidden)
	rows := p.m.Hidden
	if p.m.Transposed {
		rows = p.m.Width
	}
	batch := max(1, maxFloats/p.cols)
	buf := make([]float32, batch*p.cols)
	for at := int64(0); at < rows; at += batch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(batch, rows-at)
		from := at
		if !p.m.Transposed {
			from += p.first
		}
		if err := p.r.ReadRows(buf[:n*p.cols], from, n); err != nil {
			return nil, err
		}
		for i := range n {
			p.addNorms(sums, buf[i*p.cols:(i+1)*p.cols], at+i, gain)
		}
	}
	return sums, nil
}

func (p *projection) addNorms(sums []float64, row []float32, number int64, gain []float32) {
	if p.m.Transposed {
		g := float64(gain[number])
		for j := range sums {
			v := float64(row[p.first+int64(j)]) * g
			sums[j] += v * v
		}
		return
	}
	sums[number] = simd.Squares(row, gain)
}

// rows returns the weights of some neurons with the gains folded in.
func (p *projection) rows(ctx context.Context, neurons []int64, gain []float32) ([][]float32, error) {
	out := make([][]float32, len(neurons))
	if p.m.Transposed {
		shifted := make([]int64, len(neurons))
		for i, n := range neurons {
			shifted[i] = p.first + n
		}
		var err error
		if out, err = gather(ctx, p.r, p.m.Width, p.cols, shifted); err != nil {
			return nil, err
		}
	} else {
		for i, n := range neurons {
			out[i] = make([]float32, p.m.Width)
			if err := p.r.ReadRows(out[i], p.first+n, 1); err != nil {
				return nil, err
			}
		}
	}
	for _, row := range out {
		for j := range row {
			if gain != nil {
				row[j] *= gain[j]
			}
		}
	}
	return out, nil
}

// columns returns the output weights of some neurons.
func columns(ctx context.Context, views []quant.View, m MLP, neurons []int64) ([][]float32, error) {
	r, err := views[m.Down].Reader()
	if err != nil {
		return nil, err
	}
	if !m.Transposed {
		return gather(ctx, r, m.Width, m.Hidden, neurons)
	}
	out := make([][]float32, len(neurons))
	for i, n := range neurons {
		out[i] = make([]float32, m.Width)
		if err := r.ReadRows(out[i], n, 1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// gather reads a matrix of rows x cols once and returns some of its columns.
func gather(ctx context.Context, r *quant.Reader, rows, cols int64, wanted []int64) ([][]float32, error) {
	out := make([][]float32, len(wanted))
	for i := range out {
		out[i] = make([]float32, rows)
	}
	batch := max(1, maxFloats/cols)
	buf := make([]float32, batch*cols)
	for at := int64(0); at < rows; at += batch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(batch, rows-at)
		if err := r.ReadRows(buf[:n*cols], at, n); err != nil {
			return nil, err
		}
		for i := range n {
			row := buf[i*cols : (i+1)*cols]
			for k, c := range wanted {
				out[k][at+i] = row[c]
			}
		}
	}
	return out, nil
}

// largest returns the numbers of the n largest finite values, falling.
func largest(values []float64, n int) []int64 {
	order := make([]int64, 0, len(values))
	for i, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) && v > 0 {
			order = append(order, int64(i))
		}
	}
	slices.SortStableFunc(order, func(a, b int64) int { return cmp.Compare(values[b], values[a]) })
	return slices.Clone(order[:min(len(order), n)])
}

// Layer returns the invariants of the block's neurons.
func (b *Block) Layer(name string) Layer {
	l := Layer{Name: name, Neurons: make([]Neuron, len(b.Neurons))}
	for i := range b.Neurons {
		g, d := b.Gate[i], b.Down[i]
		gg, dd, gd := dot(g, g), dot(d, d), dot(g, d)
		if b.Up == nil {
			l.Neurons[i] = Neuron{ln(gg), ln(dd), cosine(gd, gg, dd)}
			continue
		}
		u := b.Up[i]
		uu := dot(u, u)
		l.Neurons[i] = Neuron{ln(gg), ln(uu) + ln(dd), cosine(dot(g, u), gg, uu), cosine(gd, gg, dd), cosine(dot(u, d), uu, dd)}
	}
	return l
}

func dot(a, b []float32) float64 {
	s := 0.0
	for i := range a {
		s += float64(a[i]) * float64(b[i])
	}
	return s
}

// ln is the logarithm of a norm given its square.
func ln(square float64) float32 { return float32(0.5 * math.Log(max(square, 1e-30))) }

func cosine(ab, aa, bb float64) float32 {
	if aa <= 0 || bb <= 0 {
		return 0
	}
	return float32(ab / math.Sqrt(aa*bb))
}
