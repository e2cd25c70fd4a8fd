package fingerprint

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"sync"

	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
)

// Bounds of a scan: every place of short runs, a sample of windows of long ones. A 7B
// model has some 80 sampled rows in each matrix, so that one place in 400,000 begins one.
const (
	windowPlaces = 1 << 15
	leastScanned = 4 << 20 // places
	scanShare    = 1000    // one place in so many of longer runs
	windowsAtOne = 32      // windows between which is looked at what was found
	mostRows     = 4 << 20 // registered rows that are looked for at once
)

// registeredRow is a sampled row of a registered matrix.
type registeredRow struct {
	key           uint32
	model, tensor int32
	index         int64
	bits          *sketch.Bits
}

// rowTable finds rows by the first bits of their sketch.
type rowTable struct {
	rows    []registeredRow // by key
	present []uint64        // a bit for every key that there is
	buckets int
}

func newRowTable(registered []*Fingerprint, length int64) *rowTable {
	t := &rowTable{present: make([]uint64, 1<<sketch.SlideBits/64)}
	for m, fp := range registered {
		eachEvidence(fp, func(i int, k *sketch.Tensor) {
			if k.Length != length {
				return
			}
			t.buckets = k.Buckets
			for _, rows := range [][]sketch.Row{k.Aligned, k.Content} {
				for r := range rows {
					if rows[r].Norm > 0 && len(t.rows) < mostRows {
						key := uint32(rows[r].Bits[0] & (1<<sketch.SlideBits - 1))
						t.rows = append(t.rows, registeredRow{key, int32(m), int32(i), rows[r].Index, &rows[r].Bits})
						t.present[key/64] |= 1 << (key % 64)
					}
				}
			}
		})
	}
	slices.SortStableFunc(t.rows, func(a, b registeredRow) int { return cmp.Compare(a.key, b.key) })
	return t
}

// may reports whether some row has a key.
func (t *rowTable) may(key uint32) bool { return t.present[key/64]>>(key%64)&1 == 1 }

// find calls f with the rows that have a key.
func (t *rowTable) find(key uint32, f func(*registeredRow)) {
	i, _ := slices.BinarySearchFunc(t.rows, key, func(r registeredRow, key uint32) int { return cmp.Compare(r.key, key) })
	for ; i < len(t.rows) && t.rows[i].key == key; i++ {
		f(&t.rows[i])
	}
}

// search scans the run for rows of one length and follows what it finds.
func (d *dump) search(length int64) error {
	table := newRowTable(d.registered, length)
	if d.run.elements < length || len(table.rows) == 0 {
		return d.ctx.Err()
	}
	windows := windowsOf(d.run.elements - length + 1)
	for len(windows) > 0 && d.ctx.Err() == nil {
		some := windows[:min(len(windows), windowsAtOne)]
		windows = windows[len(some):]
		for _, p := range d.seeds(table, some, length) {
			if d.try(p) {
				d.grow(p)
			}
		}
	}
	return d.ctx.Err()
}

// seeds looks at every place of some windows and returns where matrices should begin,
// in order.
func (d *dump) seeds(table *rowTable, windows []stretch, length int64) []place {
	var mu sync.Mutex
	seen := make(map[place]bool)
	s := scan{maker: d.maker, run: &d.run, length: length, skip: d.isCovered, progress: d.opt.Progress}
	s.may = table.may
	s.look = func(at int64, key uint32, values []float32) {
		table.find(key, func(r *registeredRow) {
			row, ok := d.maker.RowOf(r.index, values)
			if ok && row.Norm > 0 && float64(hamming(&row.Bits, r.bits)) <= seedNear*float64(table.buckets) {
				mu.Lock()
				defer mu.Unlock()
				seen[place{int(r.model), int(r.tensor), at - r.index*length}] = true
			}
		})
	}
	s.windows(d.ctx, windows, d.opt.Jobs)
	return slices.SortedFunc(maps.Keys(seen), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.model, b.model), cmp.Compare(a.tensor, b.tensor))
	})
}

// ScanDumped shows rows that may begin anywhere in the runs that AddDumped would search, for those who look
// for registered rows in a table of their own. Of every place that is scanned may is
// asked with the first sketch.SlideBits bits of the sketch, and where it says so row
// gets the whole one, its number being 0. Both are called from several goroutines.
func ScanDumped(ctx context.Context, m *formats.Model, suspect *Fingerprint, length int64, opt Options, may func(key uint32) bool, row func(sketch.Row)) error {
	maker := newAdded(&Fingerprint{}, opt).maker
	for _, r := range runsOf(m, suspect.Loose) {
		if r.elements < length {
			continue
		}
		s := scan{maker: maker, run: &r, length: length, may: may, progress: opt.Progress}
		s.look = func(_ int64, _ uint32, values []float32) {
			if x, ok := maker.RowOf(0, values); ok && x.Norm > 0 {
				row(x)
			}
		}
		s.windows(ctx, windowsOf(r.elements-length+1), opt.Jobs)
	}
	return ctx.Err()
}

// windowsOf spreads windows over so many places, in an order that soon has some of
// every part.
func windowsOf(places int64) []stretch {
	n := (min(places, max(leastScanned, places/scanShare)) + windowPlaces - 1) / windowPlaces
	out := make([]stretch, 0, n)
	for i := range n {
		from := places / n * i
		if places <= n*windowPlaces {
			from = windowPlaces * i
		}
		out = append(out, stretch{from, min(from+windowPlaces, places)})
	}
	const turns = 8
	slices.SortStableFunc(out, func(a, b stretch) int { return cmp.Compare(a.from/windowPlaces%turns, b.from/windowPlaces%turns) })
	return out
}

// scan looks at every place of windows of a run, as if a row of length numbers began
// there.
type scan struct {
	maker    *sketch.Maker
	run      *run
	length   int64
	skip     func(from, to int64) bool // windows that need no look; nil: none
	may      func(key uint32) bool     // whether a place is worth a look, by the first bits of its sketch
	look     func(at int64, key uint32, values []float32)
	progress func(int64)
}

// windows scans some windows on several cores.
func (s *scan) windows(ctx context.Context, windows []stretch, jobs int) {
	spread(ctx, jobs, len(windows), func() func(int) {
		var w scanner
		return func(i int) {
			if s.skip == nil || !s.skip(windows[i].from, windows[i].to) {
				w.window(s, windows[i])
			}
		}
	})
}

// scanner is the memory of one worker of a scan.
type scanner struct {
	raw             []byte
	values, clipped []float32
	keys            []uint32
}

// window scans one. What cannot be read is left out: the run's own reading has said so.
func (w *scanner) window(s *scan, of stretch) {
	n := of.to - of.from
	w.values = slices.Grow(w.values[:0], int(n+s.length))[:n+s.length-1]
	if s.run.read(w.values, of.from, &w.raw) != nil {
		return
	}
	if s.progress != nil {
		s.progress(int64(len(w.raw)))
	}
	w.clipped = clip(w.clipped, w.values)
	w.keys = slices.Grow(w.keys[:0], int(n))[:n]
	s.maker.Slide(w.keys, w.clipped, int(s.length))
	for o, key := range w.keys {
		if s.may(key) {
			s.look(of.from+int64(o), key, w.values[o:o+int(s.length)])
		}
	}
}

// clip returns the values less their mean, within three deviations of the whole window,
// as sketches have them within three of the row.
func clip(dst, values []float32) []float32 {
	var sum, squares float64
	for _, v := range values {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	n := float64(len(values))
	mean := sum / n
	most := float32(3 * math.Sqrt(max(0, squares/n-mean*mean)))
	dst = slices.Grow(dst[:0], len(values))[:len(values)]
	for i, v := range values {
		dst[i] = max(-most, min(v-float32(mean), most))
	}
	return dst
}
