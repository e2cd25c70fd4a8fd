package invariant

import (
	"slices"
	"strings"

	"weightwarden/formats/quant"
)

// MLP names the matrices of one feed-forward block, as indices of views: In and
// Out always, Up where there are two input projections (GLU), Norm where the gain
// in front of the block is known (-1 where it is not).
type MLP struct {
	Gate, Up, Down, Norm int
	// Fused says that gate and up are the two halves of the matrix Gate.
	Fused bool
	// Transposed says that the matrices are stored [in, out].
	Transposed bool
	Hidden     int64 // neurons
	Width      int64 // of the residual stream
}

// reach is how many tensors apart the matrices of one block may stand.
const reach = 8

// Find lists the feed-forward blocks of a model by the shapes that fit together:
// one or two matrices from width to hidden and one back, near each other in the
// file. Names are only used to pick the norm in front of a block.
func Find(views []quant.View) []MLP {
	stored, turned := findIn(views, false), findIn(views, true)
	// A GLU block read the wrong way round looks like a block of two matrices:
	// the reading that explains more matrices is right.
	if matrices(turned) > matrices(stored) {
		return turned
	}
	return stored
}

// findIn lists the blocks whose matrices are all stored one way.
func findIn(views []quant.View, transposed bool) []MLP {
	var out []MLP
	used := make([]bool, len(views))
	for down := range views {
		if used[down] {
			continue
		}
		m, ok := blockAround(views, used, down, transposed)
		if !ok {
			continue
		}
		for _, i := range []int{m.Gate, m.Up, m.Down} {
			if i >= 0 {
				used[i] = true
			}
		}
		m.Norm = normFor(views, m)
		out = append(out, m)
	}
	return out
}

// matrices counts the projections that blocks are made of.
func matrices(blocks []MLP) int {
	n := 0
	for _, m := range blocks {
		n += 2
		if m.Up >= 0 || m.Fused {
			n++
		}
	}
	return n
}

// blockAround looks for the input projections of the block whose output
// projection is views[down].
func blockAround(views []quant.View, used []bool, down int, transposed bool) (MLP, bool) {
	width, hidden := views[down].Rows, views[down].Cols
	if transposed {
		width, hidden = hidden, width
	}
	if hidden <= width || width < 64 {
		return MLP{}, false
	}
	is := func(i int, out int64) bool {
		v := &views[i]
		if transposed {
			return v.Rows == width && v.Cols == out
		}
		return v.Rows == out && v.Cols == width
	}
	var in, fused []int
	for i := max(0, down-reach); i <= min(len(views)-1, down+reach); i++ {
		switch {
		case used[i] || i == down:
		case is(i, hidden):
			in = append(in, i)
		case is(i, 2*hidden):
			fused = append(fused, i)
		}
	}
	nearest := func(a, b int) int { return abs(a-down) - abs(b-down) }
	slices.SortStableFunc(in, nearest)
	slices.SortStableFunc(fused, nearest)
	m := MLP{Down: down, Up: -1, Norm: -1, Transposed: transposed, Hidden: hidden, Width: width}
	switch {
	case len(in) >= 2:
		m.Gate, m.Up = min(in[0], in[1]), max(in[0], in[1])
	case len(fused) >= 1:
		m.Gate, m.Fused = fused[0], true
	case len(in) == 1:
		m.Gate = in[0]
	default:
		return MLP{}, false
	}
	return m, true
}

func abs(x int) int { return max(x, -x) }

// normFor picks the gain vector in front of a block: one whose name says so, else
// the nearest of the right length.
func normFor(views []quant.View, m MLP) int {
	best, score := -1, 0
	for i := max(0, m.Down-2*reach); i < min(len(views), m.Down+2*reach+1); i++ {
		v := &views[i]
		if v.Rows != 1 || v.Cols != m.Width || strings.HasSuffix(v.Name, "bias") {
			continue
		}
		s := 1000 - 10*abs(i-m.Gate)
		name := strings.ToLower(v.Name)
		for _, hint := range []string{"ffn_norm", "post_attention", "mlp_norm", "ln_2", "norm2", "norm_2", "ln2", "ffn.norm"} {
			if strings.Contains(name, hint) && samePrefix(name, strings.ToLower(views[m.Gate].Name)) {
				s += 5000
			}
		}
		if s > score {
			best, score = i, s
		}
	}
	return best
}

// samePrefix reports whether two tensor names have the same first number: the
// same layer.
func samePrefix(a, b string) bool { return firstNumber(a) == firstNumber(b) }

func firstNumber(s string) string {
	start := strings.IndexAny(s, "0123456789")
	if start < 0 {
		return ""
	}
	end := start
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	return s[start:end]
}
