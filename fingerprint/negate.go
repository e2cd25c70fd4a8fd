package fingerprint

import (
	"math"
	"slices"
	"strings"
)

// A convolution and the norm behind it may both change their sign, and the network computes what it did.
// Every row is then as far from the registered one as rows can be.

// Negated begins the transform of tensors that match with the other sign.
const Negated = "negated"

// negatedLooks is how many registered tensors are asked whether any suspect tensor is their opposite.
const negatedLooks = 8

// looksNegated reports whether some suspect tensor is further from a registered one than unrelated ones are: of
// 64 rows and 64 bits of each, three fifths differ.
func (c *comparer) looksNegated() bool {
	looks := 0
	for t := range c.reg.Tensors {
		k := c.reg.Tensors[t].Sketch
		if k == nil || c.reg.Tensors[t].Constant != "" {
			continue
		}
		if looks++; looks > negatedLooks {
			return false
		}
		own := newSide(t, false, k.Aligned)
		sides := c.partners.byLength[k.Length]
		for i := range sides {
			places := c.partners.positions(&own, &sides[i])
			if len(places) >= 4*minCommon && wordDistance(&own, &sides[i], places) >= .6*64 {
				return true
			}
		}
	}
	return false
}

// negated compares once more with all signs of the suspect changed. It is one more trial.
func (c *comparer) negated(first *Comparison) *Comparison {
	if first.Relation != NoMatch && first.Bound != "control-calibrated" || !c.looksNegated() {
		return first
	}
	n := newComparer(c.reg, opposite(c.sus))
	n.sketches()
	for t := range n.found {
		if f := &n.found[t]; f.aligned {
			f.relation, f.transform = Reparameterised, strings.TrimSpace(Negated+" "+f.transform)
		}
	}
	out := n.decide()
	if out.LogP += math.Ln2; out.Relation == NoMatch {
		return first
	}
	return out
}

// opposite returns a fingerprint with the sketches that the same weights of the other sign have.
func opposite(f *Fingerprint) *Fingerprint {
	out := *f
	out.Files, out.Tensors = nil, slices.Clone(f.Tensors)
	for i := range out.Tensors {
		if k := out.Tensors[i].Sketch; k != nil {
			out.Tensors[i].Sketch = k.Opposite()
		}
	}
	return &out
}
