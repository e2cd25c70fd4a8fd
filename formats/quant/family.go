package quant

import (
	"cmp"
	"slices"
	"strings"

	"weightwarden/formats"
)

// maxFamilyCols bounds the row length of a family, and with it the memory for
// scales of a row. The longest rows of known models are some 10^5 long.
const maxFamilyCols = 1 << 20

// leastCodes is the smallest main tensor of a family, in its own elements.
const leastCodes = 64

// codeTypes are the types of main tensors: words and bytes of codes, and the
// small numbers of scaledTypes.
var codeTypes = append([]formats.DType{formats.I32, formats.U32, formats.I16, formats.U16}, scaledTypes...)

// family recognises the main tensor of a packing scheme and its companions.
type family func(f *finder, main int) (View, bool)

// find tries all families on all tensors that are still free: first among tensors
// of one stem, so that a layer finds its own companions, then among any.
func (f *finder) find() []View {
	found := make([]View, len(f.tensors))
	recognisers := families()
	for _, f.related = range []bool{true, false} {
		for i := range f.tensors {
			if f.used[i] {
				continue
			}
			if t := &f.tensors[i]; !slices.Contains(codeTypes, t.DType) || t.Elements() < leastCodes {
				continue
			}
			for _, recognise := range recognisers {
				if v, ok := recognise(f, i); ok {
					found[i] = v
					for _, k := range v.Tensors {
						f.used[k] = true
					}
					break
				}
			}
		}
	}
	return found
}

// families are tried in order; the first that fits takes the tensors.
func families() []family {
	return []family{findGPTQ, findAWQ, findAWQVector, findAWQFast, findCompressed, findMLX, findBnb4,
		findMXFP4, findNVFP4, findNBits, findScaled}
}

// finder looks for the companions of a tensor: near it by name, or near it in the
// file where names say nothing.
type finder struct {
	tensors []formats.Tensor
	byName  []int // indices in order of names
	place   []int // the inverse of byName
	used    []bool
	facts   []facts
	related bool // only tensors of one stem belong together
}

// part is a tensor that may belong to a family.
type part struct {
	*formats.Tensor
	facts *facts
}

// facts are what the first numbers of a tensor look like, read at most once.
type facts struct {
	known    bool
	positive bool    // finite, none negative, one above zero
	mean     float64 // of the finite ones
	powers   bool    // bytes: exponents of the scales of weights
	first    float32
}

// look reads the facts.
func (p part) look() facts {
	if !p.facts.known {
		raw := *p.Tensor
		if raw.DType == formats.F8E8M0 {
			raw.DType = formats.U8
		}
		x := sample(&raw, 1024)
		*p.facts = facts{known: true, positive: positive(x), mean: meanOf(x), powers: likelyPowers(x)}
		if len(x) > 0 {
			p.facts.first = x[0]
		}
	}
	return *p.facts
}

func newFinder(m *formats.Model) *finder {
	n := len(m.Tensors)
	f := &finder{tensors: m.Tensors, byName: make([]int, n), place: make([]int, n), used: make([]bool, n), facts: make([]facts, n)}
	for i := range f.byName {
		f.byName[i] = i
	}
	slices.SortStableFunc(f.byName, func(a, b int) int { return cmp.Compare(m.Tensors[a].Name, m.Tensors[b].Name) })
	for place, i := range f.byName {
		f.place[i] = place
	}
	return f
}

// window is how many neighbours by name, and by place in the file, are looked at
// on each side.
const window = 24

// companion returns the tensor that fits best, -1 for none: one whose name shares
// the part up to the last separator of the main tensor's name goes before others,
// a longer shared part before a shorter one, and a near one before a far one.
func (f *finder) companion(main int, fits func(part) bool) int {
	i, _ := f.search(main, fits)
	return i
}

// relative is companion for tensors whose shape proves nothing, such as single
// numbers: the name must share its stem with the main tensor's.
func (f *finder) relative(main int, fits func(part) bool) int {
	i, related := f.search(main, fits)
	if !related {
		return -1
	}
	return i
}

func (f *finder) search(main int, fits func(part) bool) (best int, related bool) {
	name := f.tensors[main].Name
	stem := len(stemOf(name))
	best, bestShared, bestFar := -1, 0, 0
	look := func(i int) {
		t := &f.tensors[i]
		if i == main || f.used[i] || t.Data.Source == nil || !fits(part{t, &f.facts[i]}) || !readable(t) {
			return
		}
		shared := sharedPrefix(name, t.Name)
		if shared < stem || stem == 0 {
			shared = -1
		}
		if shared < 0 && f.related {
			return
		}
		far := max(i-main, main-i)
		if best < 0 || shared > bestShared || shared == bestShared && far < bestFar {
			best, bestShared, bestFar = i, shared, far
		}
	}
	at := f.place[main]
	for _, i := range f.byName[max(0, at-window):min(len(f.byName), at+window+1)] {
		look(i)
	}
	for i := max(0, main-window); i < min(len(f.tensors), main+window+1); i++ {
		look(i)
	}
	return best, best >= 0 && bestShared >= 0
}

// stemOf is the part of a name that the tensors of one layer share: up to and
// with the last separator.
func stemOf(name string) string {
	return name[:strings.LastIndexAny(name, "./:_")+1]
}

func sharedPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// weightName is the name that the unpacked weight would have.
func weightName(name string) string {
	for _, s := range []struct{ packed, weight string }{{".qweight", ".weight"}, {".weight_packed", ".weight"},
		{"_blocks", ""}, {"_quantized", ""}, {"_Q4", ""}, {"_Q8", ""}} {
		if base, ok := strings.CutSuffix(name, s.packed); ok && base != "" {
			return base + s.weight
		}
	}
	return name
}

// hasShape reports whether t is a readable, contiguous tensor of these lengths.
func hasShape(t *formats.Tensor, shape ...int64) bool {
	return slices.Equal(t.Shape, shape) && t.Data.Strides == nil
}

// isMatrix reports whether t is a contiguous matrix of some of these types.
func isMatrix(t *formats.Tensor, types ...formats.DType) bool {
	return len(t.Shape) == 2 && t.Data.Strides == nil && slices.Contains(types, t.DType) && readable(t)
}

// realTypes are the types that scales may have.
var realTypes = []formats.DType{formats.F16, formats.BF16, formats.F32, formats.F64}

// view makes the View of a family of the given tensors, the main one first.
func (f *finder) view(scheme string, shape []int64, open func() (rowSource, error), tensors ...int) (View, bool) {
	n, ok := formats.Elements(shape)
	if !ok || n == 0 || len(shape) == 0 || shape[len(shape)-1] > maxFamilyCols {
		return View{}, false
	}
	v := View{Name: weightName(f.tensors[tensors[0]].Name), Scheme: scheme, DType: f.tensors[tensors[0]].DType,
		Shape: shape, Cols: shape[len(shape)-1], open: open}
	v.Rows = n / v.Cols
	for _, i := range tensors {
		if i >= 0 {
			v.Tensors = append(v.Tensors, i)
		}
	}
	return v, true
}

// sample reads up to n numbers from the start of t; nil where it cannot be read.
func sample(t *formats.Tensor, n int64) []float32 {
	if t.Data.Strides != nil || Numbers(t.DType) != 1 {
		return nil
	}
	p, err := openPacked(t)
	if err != nil {
		return nil
	}
	x := make([]float32, min(n, p.total))
	if p.readAt(x, 0) != nil {
		return nil
	}
	return x
}
