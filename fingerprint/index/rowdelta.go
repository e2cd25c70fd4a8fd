package index

import (
	"fmt"
	"math/bits"
	"strings"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/sketch"
)

// Where sums cannot be subtracted (parts of tensors, other places, transposed, rows that were sampled only), the bits of
// sampled rows say whose training is there: of those in which the protected model and the public one differ, the share that are
// as the protected one has them.
const (
	leastBits = 100 // that differ
	ownBits   = .5
	sureBits  = .9 // from which nothing but the protected model explains them; quantised to 4 bits less
)

// byRows is baseOnly by the bits of rows.
func byRows(fp *fingerprint.Fingerprint, p, b *candidate) (e fingerprint.Evidence, only bool, kin string) {
	name, base := p.match.Model+"@"+p.match.Version, b.match.Model+"@"+b.match.Version
	own, all := ownBitsOf(fp, p, b)
	share := float64(own) / float64(max(all, 1))
	e = fingerprint.Evidence{Kind: "delta", Value: share, Unit: "share of bits", Model: name}
	if all < leastBits {
		e.Text = fmt.Sprintf("%s differs from the public %s by less than the rows found show: the file may be either", name, base)
		return e, exact(p) <= exact(b), ""
	}
	e.Text = fmt.Sprintf("of the %d bits of sampled rows in which %s and the public %s differ, %.0f%% are as in %s", all, name, base, 100*share, name)
	switch {
	case share < ownBits:
		return e, true, ""
	case share < sureBits:
		return e, false, halfRows
	}
	return e, false, ""
}

// exact is how many bytes were found unchanged.
func exact(c *candidate) (n int64) {
	for _, t := range c.match.Tensors {
		n += t.Exact
	}
	return n
}

// ownBitsOf counts the bits in which p and b differ in rows that the suspect has of both, and those of them that are
// as in p.
func ownBitsOf(fp *fingerprint.Fingerprint, p, b *candidate) (own, all int) {
	type place struct {
		suspect int
		name    string
	}
	ofB := make(map[place]*sketch.Tensor)
	for _, m := range b.match.Tensors {
		ofB[place{m.Suspect, b.reg.Tensors[m.Registered].Name}] = b.reg.Tensors[m.Registered].Sketch
	}
	for _, m := range p.match.Tensors {
		x, y := p.reg.Tensors[m.Registered].Sketch, ofB[place{m.Suspect, p.reg.Tensors[m.Registered].Name}]
		if x == nil || y == nil || x.Length != y.Length || x.Count != y.Count || m.Suspect < 0 || m.Suspect >= len(fp.Tensors) {
			continue
		}
		z := fp.Tensors[m.Suspect].Sketch
		if z == nil {
			continue
		}
		if strings.HasPrefix(m.Transform, fingerprint.Negated) {
			z = z.Opposite()
		}
		var rows []trio
		for _, list := range facingRows(x, z) {
			if t := matched(x.Aligned, y.Aligned, list); len(t) > 0 && (rows == nil || meanOf(t) < meanOf(rows)) {
				rows = t
			}
		}
		if z.Length == x.Length {
			if t := nearestOf(x.Content, y.Content, z.Content); len(t) > 0 && (rows == nil || meanOf(t) < meanOf(rows)) {
				rows = t
			}
		}
		for _, t := range rows {
			for w := range t.p {
				differ := t.p[w] ^ t.b[w]
				all += bits.OnesCount64(differ)
				own += bits.OnesCount64(differ &^ (t.p[w] ^ t.s[w]))
			}
		}
	}
	return own, all
}

// trio is one row of p, of b and of the suspect.
type trio struct{ p, b, s *sketch.Bits }

// meanOf is how far the suspect's rows are from the nearer of the two.
func meanOf(rows []trio) float64 {
	sum := 0
	for _, t := range rows {
		sum += min(apartBits(t.p, t.s), apartBits(t.b, t.s))
	}
	return float64(sum) / float64(len(rows))
}

func apartBits(a, b *sketch.Bits) (n int) {
	for w := range a {
		n += bits.OnesCount64(a[w] ^ b[w])
	}
	return n
}

// facingRows lists the samples of a suspect tensor whose rows are as long as the registered ones.
func facingRows(r, z *sketch.Tensor) (out [][]sketch.Row) {
	if z.Length == r.Length {
		out = append(out, z.Aligned)
		for i := range z.Segments {
			out = append(out, z.Segments[i].Rows)
		}
	}
	if z.Count == r.Length {
		out = append(out, z.Columns)
	}
	return out
}

// matched pairs rows by their numbers.
func matched(p, b, s []sketch.Row) (out []trio) {
	ofB, ofS := byNumber(b), byNumber(s)
	for i := range p {
		x, y := ofB[p[i].Index], ofS[p[i].Index]
		if x != nil && y != nil && p[i].Norm > 0 && x.Norm > 0 && y.Norm > 0 {
			out = append(out, trio{&p[i].Bits, &x.Bits, &y.Bits})
		}
	}
	return out
}

// nearestOf pairs rows of p and b by their numbers, and each with the suspect's row nearest to both.
func nearestOf(p, b, s []sketch.Row) (out []trio) {
	const near = 80
	ofB := byNumber(b)
	for i := range p {
		x := ofB[p[i].Index]
		if x == nil {
			continue
		}
		best, at := 2*near+1, -1
		for k := range s {
			if d := apartBits(&p[i].Bits, &s[k].Bits) + apartBits(&x.Bits, &s[k].Bits); d < best {
				best, at = d, k
			}
		}
		if at >= 0 {
			out = append(out, trio{&p[i].Bits, &x.Bits, &s[at].Bits})
		}
	}
	return out
}

func byNumber(rows []sketch.Row) map[int64]*sketch.Row {
	out := make(map[int64]*sketch.Row, len(rows))
	for i := range rows {
		out[rows[i].Index] = &rows[i]
	}
	return out
}
