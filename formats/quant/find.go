package quant

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"weightwarden/formats"
)

// finder looks for the companions of a tensor: among those that share its stem by
// name, or near it where names tell nothing.
type finder struct {
	tensors []formats.Tensor
	byName  order
	inFile  order
	used    []bool
	facts   []facts

	near  *order // the order that nearness counts in; nil while names decide
	reach int    // how many neighbours are looked at on each side
	looks int    // how many may still be looked at in this pass
	sided bool   // companions lie on one side of their main tensor
	// Of the main tensor at hand: its stem, empty where it tells nothing, and on
	// which side of it companions lie, 0 while that is not known.
	stem string
	side int
}

// order is a permutation of the tensors.
type order struct {
	at    []int // the tensor at a place
	place []int // the place of a tensor
}

func newOrder(n int, less func(a, b int) int) order {
	o := order{at: make([]int, n), place: make([]int, n)}
	for i := range o.at {
		o.at[i] = i
	}
	slices.SortStableFunc(o.at, less)
	for place, i := range o.at {
		o.place[i] = place
	}
	return o
}

func newFinder(m *formats.Model) *finder {
	n := len(m.Tensors)
	return &finder{tensors: m.Tensors, used: make([]bool, n), facts: make([]facts, n), reach: window,
		byName: newOrder(n, func(a, b int) int { return cmp.Compare(m.Tensors[a].Name, m.Tensors[b].Name) }),
		inFile: newOrder(n, func(a, b int) int { return cmp.Compare(a, b) })}
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

// find lists the families by their main tensors: those whose names share a stem,
// so that a layer finds its own companions; then, of what is left, those that lie
// near each other, in the file or in the order of names, with their companions all
// on one side or around. Layers repeat, so of these ways that is right by which
// the most families are laid out alike.
func (f *finder) find() map[int]View {
	found := f.pass(nil, false)
	left := f.used
	var best map[int]View
	var bestUsed []bool
	bestAlike := -1
	for _, near := range []*order{&f.inFile, &f.byName} {
		for _, sided := range []bool{false, true} {
			f.used = left
			trial := f.pass(near, sided)
			if n := alike(trial, near); n > bestAlike {
				best, bestUsed, bestAlike = trial, f.used, n
			}
		}
	}
	f.used = bestUsed
	maps.Copy(found, best)
	// Whatever is out of order is looked for in all of the file, or as much of it
	// as costs no more than a few million looks.
	f.reach = max(window, 2_000_000/max(1, len(f.tensors)))
	maps.Copy(found, f.pass(&f.inFile, false))
	return found
}

// pass tries all families on all tensors that are still free.
func (f *finder) pass(near *order, sided bool) map[int]View {
	f.near, f.sided, f.used, f.looks = near, sided, slices.Clone(f.used), mostLooks
	found := map[int]View{}
	recognisers := families()
	for place := range f.tensors {
		main := place
		if near != nil {
			main = near.at[place]
		}
		if t := &f.tensors[main]; f.used[main] || !slices.Contains(codeTypes, t.DType) || t.Elements() < leastCodes {
			continue
		}
		f.begin(main)
		for _, recognise := range recognisers {
			f.side = 0
			if v, ok := recognise(f, main); ok {
				found[main] = v
				for _, k := range v.Tensors {
					f.used[k] = true
				}
				break
			}
		}
	}
	return found
}

// alike counts the families that have the most usual layout in an order.
func alike(found map[int]View, o *order) int {
	count := map[string]int{}
	most := 0
	for main, v := range found {
		layout := v.Scheme
		for _, k := range v.Tensors[1:] {
			layout += fmt.Sprintf(" %d", o.place[k]-o.place[main])
		}
		count[layout]++
		most = max(most, count[layout])
	}
	return most
}

// window is how many neighbours are looked at at first, and how many tensors of
// one stem may still be one layer's: a file that calls all its tensors
// "tensor_0001" and so on tells nothing by that.
const window = 24

// mostLooks bounds the work of a pass by nearness on files of very many tensors.
const mostLooks = 8_000_000

// begin prepares the search for companions of a main tensor.
func (f *finder) begin(main int) {
	name := f.tensors[main].Name
	f.stem = stemOf(name)
	siblings := 0
	for _, step := range []int{-1, 1} {
		at := f.byName.place[main] + step
		for at >= 0 && at < len(f.tensors) && siblings <= window && strings.HasPrefix(f.tensors[f.byName.at[at]].Name, f.stem) {
			siblings, at = siblings+1, at+step
		}
	}
	if siblings > window {
		f.stem = ""
	}
}

// relative returns the tensor that fits best among those of the main tensor's
// stem, -1 for none. It is for tensors whose shape proves nothing, such as single
// numbers.
func (f *finder) relative(main int, fits func(part) bool) int {
	if f.near != nil {
		return -1
	}
	return f.companion(main, fits)
}

// companion returns the tensor that fits best, -1 for none. While names decide,
// that is the one of the same stem which shares the longest part of the name.
// Otherwise it is the nearest one, in a sided pass one on the side where the first
// companion was.
func (f *finder) companion(main int, fits func(part) bool) int {
	o := f.near
	if o == nil {
		o = &f.byName
	}
	if f.near == nil && f.stem == "" || f.near != nil && f.looks < 0 {
		return -1
	}
	f.looks -= 2 * f.reach
	place := o.place[main]
	best, bestRank := -1, rank{}
	for _, i := range o.at[max(0, place-f.reach):min(len(o.at), place+f.reach+1)] {
		t := &f.tensors[i]
		if i == main || f.used[i] || t.Data.Source == nil || f.near == nil && !strings.HasPrefix(t.Name, f.stem) {
			continue
		}
		if !fits(part{t, &f.facts[i]}) || !readable(t) {
			continue
		}
		offset := o.place[i] - place
		r := rank{aside: f.side*offset < 0, far: max(offset, -offset)}
		if f.near == nil {
			r.shared = sharedPrefix(f.tensors[main].Name, t.Name)
		}
		if best < 0 || r.before(bestRank) {
			best, bestRank = i, r
		}
	}
	if best >= 0 && f.side == 0 && f.sided {
		f.side = cmp.Compare(o.place[best], place)
	}
	return best
}

// rank orders tensors that fit.
type rank struct {
	shared int  // bytes of the name
	aside  bool // on the other side than the companions before
	far    int
}

func (r rank) before(other rank) bool {
	switch {
	case r.shared != other.shared:
		return r.shared > other.shared
	case r.aside != other.aside:
		return other.aside
	}
	return r.far < other.far
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
