package fingerprint

import (
	"cmp"
	"reflect"
	"slices"

	"weightwarden/formats"
)

// layout is the plan of what to read: every byte of every file once, cut into
// pieces at tensor and member borders, and the logical contents of tensors that
// do not lie in one run.
type layout struct {
	files  []file
	pieces []plan
	// tensorPiece is the piece of each tensor of the model, -1 where its bytes
	// cannot be reached.
	tensorPiece []int
	unknown     bool // no decoder reads the file: all of it is bytes between tensors
	unread      int64
	notes       []string
}

// file is one file of a set, or one member of a container.
type file struct {
	name   string
	source formats.Source
	base   int   // index of the file whose bytes it shares, or its own
	offset int64 // in the base
	size   int64
	pieces []int // that cover it, in order
}

// plan is a piece to be read.
type plan struct {
	Piece
	tensor  int  // model tensor it is the contents of, -1 for bytes between tensors
	logical bool // read through Tensor.Reader: strided or big-endian
	phases  bool // unknown bytes: cut at every alignment
}

// maxNesting bounds the sections of sections that are followed.
const maxNesting = 64

// rawPhases is the size from which bytes between tensors may hide a model of
// their own, at any alignment.
const rawPhases = 1 << 20

func plan1(src formats.Source, m *formats.Model) *layout {
	l := &layout{unknown: m == nil}
	l.fileOf(src, "")
	if m == nil {
		m = &formats.Model{}
	}
	l.tensorPiece = make([]int, len(m.Tensors))
	spans := make([][]span, 0, 4)
	for i := range m.Tensors {
		l.tensorPiece[i] = -1
		t := &m.Tensors[i]
		if t.Data.Source == nil {
			continue
		}
		f := l.fileOf(t.Data.Source, t.Member)
		for len(spans) < len(l.files) {
			spans = append(spans, nil)
		}
		l.placeTensor(i, t, f, spans)
	}
	for i := range m.Loose {
		if t := &m.Loose[i]; t.Data.Source != nil {
			l.fileOf(t.Data.Source, t.Member) // all of it lies between tensors
		}
	}
	for len(spans) < len(l.files) {
		spans = append(spans, nil)
	}
	for f := range l.files {
		if l.files[f].base == f {
			l.cover(f, spans[f])
		}
	}
	l.assign()
	return l
}

// span is a run of bytes of a base file that a tensor owns.
type span struct {
	start, end int64
	tensor     int
}

// placeTensor notes the run of a tensor, or plans a piece of its own for
// contents that are no run.
func (l *layout) placeTensor(i int, t *formats.Tensor, f int, spans [][]span) {
	e := t.Data
	size := e.Source.Size()
	if e.Offset < 0 || e.Length < 0 || e.Offset > size {
		l.unread += max(0, e.Length)
		return
	}
	if missing := e.Length - (size - e.Offset); missing > 0 {
		l.unread += missing
		e.Length -= missing
	}
	if e.Strides != nil || e.BigEndian && !byteSized(t.DType) {
		if n, ok := t.Bytes(); ok {
			l.tensorPiece[i] = l.add(plan{Piece: Piece{File: f, Offset: e.Offset, Length: n}, tensor: i, logical: true})
		}
		return
	}
	if e.Length == 0 {
		return
	}
	base := l.files[f].base
	start := l.files[f].offset + e.Offset
	spans[base] = append(spans[base], span{start, start + e.Length, i})
}

func byteSized(d formats.DType) bool {
	_, bits := d.Block()
	return d == formats.Unknown || !d.IsBlock() && bits <= 8
}

// fileOf returns the number of the file that src is, or a section of.
func (l *layout) fileOf(src formats.Source, name string) int {
	if k := l.known(src); k >= 0 {
		return k
	}
	f := file{name: name, source: src, base: len(l.files), size: src.Size()}
	// A section of a known file shares its bytes, however deep it is nested.
	off, at := int64(0), src
	for range maxNesting {
		part, ok := at.(formats.Based)
		if !ok {
			break
		}
		base, start := part.Base()
		off, at = off+start, base
		if k := l.known(base); k >= 0 {
			f.base, f.offset = l.files[k].base, l.files[k].offset+off
			break
		}
	}
	l.files = append(l.files, f)
	return len(l.files) - 1
}

// known returns the number of a file that is src, or -1.
func (l *layout) known(src formats.Source) int {
	for i := range l.files {
		if same(l.files[i].source, src) {
			return i
		}
	}
	return -1
}

// same reports whether two readers are one, without tripping over types that
// cannot be compared.
func same(a, b any) bool {
	ta, tb := reflect.TypeOf(a), reflect.TypeOf(b)
	if ta != tb || ta == nil {
		return false
	}
	if x, ok := a.(formats.BytesSource); ok {
		y := b.(formats.BytesSource)
		return len(x) == len(y) && (len(x) == 0 || &x[0] == &y[0])
	}
	return ta.Comparable() && a == b
}

func (l *layout) add(p plan) int {
	l.pieces = append(l.pieces, p)
	return len(l.pieces) - 1
}

// cover plans the pieces of base file f: its tensors' runs and what lies between
// them, cut also where members begin and end.
func (l *layout) cover(f int, spans []span) {
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end), cmp.Compare(a.tensor, b.tensor))
	})
	borders := l.borders(f)
	at := l.files[f].offset
	for k, s := range spans {
		if k > 0 && spans[k-1].start == s.start && spans[k-1].end == s.end {
			l.tensorPiece[s.tensor] = l.tensorPiece[spans[k-1].tensor] // tied: one read serves both
			continue
		}
		l.gap(f, at, s.start, borders)
		l.tensorPiece[s.tensor] = l.add(plan{Piece: Piece{File: f, Offset: s.start, Length: s.end - s.start}, tensor: s.tensor})
		at = max(at, s.end)
	}
	l.gap(f, at, l.files[f].offset+l.files[f].size, borders)
}

// borders returns where members of base file f begin and end, in order.
func (l *layout) borders(f int) []int64 {
	var out []int64
	for i := range l.files {
		if l.files[i].base == f && i != f {
			out = append(out, l.files[i].offset, l.files[i].offset+l.files[i].size)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// loose lists the bytes of no tensor, where there are many together.
func (l *layout) loose() []Loose {
	var out []Loose
	for i := range l.pieces {
		p := &l.pieces[i]
		if p.tensor < 0 && p.Length >= formats.LeastLoose {
			out = append(out, Loose{Member: l.files[p.File].name, Data: formats.Extent{Source: l.files[p.File].source, Offset: p.Offset, Length: p.Length}})
		}
	}
	return out
}

func (l *layout) gap(f int, from, to int64, borders []int64) {
	k, _ := slices.BinarySearch(borders, from+1)
	for from < to {
		end := to
		if k < len(borders) && borders[k] < to {
			end = borders[k]
			k++
		}
		l.add(plan{Piece: Piece{File: f, Offset: from, Length: end - from}, tensor: -1, phases: end-from >= rawPhases || l.unknown})
		from = end
	}
}

// longest returns the length of the longest piece.
func (l *layout) longest() (n int64) {
	for i := range l.pieces {
		n = max(n, l.pieces[i].Length)
	}
	return n
}

// assign lists, for every file, the pieces that cover it in order, without
// overlap: what identity of a whole file is judged by.
func (l *layout) assign() {
	order := make([]int, 0, len(l.pieces))
	for i := range l.pieces {
		if !l.pieces[i].logical {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := &l.pieces[a], &l.pieces[b]
		return cmp.Or(cmp.Compare(x.File, y.File), cmp.Compare(x.Offset, y.Offset), cmp.Compare(y.Length, x.Length))
	})
	for f := range l.files {
		fl := &l.files[f]
		lo, _ := slices.BinarySearchFunc(order, fl, func(p int, fl *file) int {
			return cmp.Or(cmp.Compare(l.pieces[p].File, fl.base), cmp.Compare(l.pieces[p].Offset, fl.offset))
		})
		at := fl.offset
		for _, p := range order[lo:] {
			pc := &l.pieces[p]
			if pc.File != fl.base || pc.Offset >= fl.offset+fl.size {
				break
			}
			if pc.Offset >= at && pc.Length > 0 {
				fl.pieces = append(fl.pieces, p)
				at = pc.Offset + pc.Length
			}
		}
	}
}
