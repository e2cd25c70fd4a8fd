package sketch

import (
	"math"
	"slices"

	"weightwarden/fingerprint/internal/simd"
)

// Builder sketches one matrix, row by row. It is not safe for concurrent use.
type Builder struct {
	m       *Maker
	room    *Room
	t       Tensor
	rows    int64
	cols    int64
	signs   []uint32
	aligned []sampled // by row number
	next    int       // in aligned
	acc     [256]float32
	sumRows int64
	// Columns of the other axis, whole, for transposed copies and for matrices
	// whose rows are too short. columnAt are their numbers.
	columnAt []int64
	columns  []float32  // row after row, len(columnAt) values each
	formula  [2]Formula // of rows, of columns
	finite   int64
}

type sampled struct {
	index int64
	rank  int
}

// Room is what builders need while they work, for one builder after another: of thousands of matrices it
// would be most of what is allocated.
type Room struct{ columns, turned []float32 }

// keptRoom is how many numbers of one kind wait for the next builder.
const keptRoom = 1 << 21

// take returns room for so many numbers, whatever is in it.
func take(have *[]float32, n int64) []float32 {
	if int64(cap(*have)) >= n {
		return (*have)[:n]
	}
	out := make([]float32, n)
	if n <= keptRoom {
		*have = out
	}
	return out
}

// NewBuilder returns a builder for a matrix of rows x cols, and false where such
// a matrix is not sketched. withColumns collects the sample of the other axis.
// The room must not be used by another builder before Finish.
func (m *Maker) NewBuilder(rows, cols int64, withColumns bool, room *Room) (*Builder, bool) {
	transposed, ok := Orientation(rows, cols)
	if !ok {
		return nil, false
	}
	b := &Builder{m: m, room: room, rows: rows, cols: cols}
	b.formula[0].thorough, b.formula[1].thorough = m.Thorough, m.Thorough
	b.t.Transposed = transposed
	if transposed {
		b.columnAt = m.byRank(cols, int(cols))
		b.makeColumns()
		return b, true
	}
	b.start(rows, cols)
	if withColumns && rows <= maxColumnRows && rows >= MinLength {
		b.columnAt = m.Sample(cols, AlignedRows)
		b.makeColumns()
	}
	return b, true
}

// byRank returns the numbers 0..count-1.
func (m *Maker) byRank(count int64, n int) []int64 {
	out := m.Sample(count, n)
	slices.Sort(out)
	return out
}

func (b *Builder) makeColumns() {
	b.columns = take(&b.room.columns, b.rows*int64(len(b.columnAt)))[:0]
}

// start prepares for count rows of length elements.
func (b *Builder) start(count, length int64) {
	b.t.Buckets, b.t.Length, b.t.Count = buckets(length), length, count
	b.t.Groups = 4
	b.t.Sum = make([]float32, b.t.Groups*b.t.Buckets)
	b.signs = b.m.signsFor(int(length))
	sample := b.m.Sample(count, AlignedRows)
	b.t.Aligned = make([]Row, len(sample))
	b.aligned = make([]sampled, len(sample))
	for rank, i := range sample {
		b.aligned[rank] = sampled{i, rank}
		b.t.Aligned[rank].Index = i
	}
	slices.SortFunc(b.aligned, func(x, y sampled) int { return int(x.index - y.index) })
	b.sumRows = 1
	if count >= sumAllBelow {
		b.sumRows = sumOneIn
	}
	if count >= 2*sumAllBelow {
		b.sumRows = 2 * sumOneIn
	}
}

// Row takes row number i in; rows come in order, and every number once.
func (b *Builder) Row(i int64, row []float32) {
	if n := len(b.columnAt); n > 0 {
		b.columns = slices.Grow(b.columns, n)[:len(b.columns)+n]
		out := b.columns[len(b.columns)-n:]
		for k, at := range b.columnAt {
			out[k] = row[at]
		}
	}
	if !b.t.Transposed {
		b.sketchRow(i, row)
	}
}

// Needs reports whether row i is part of the aligned sample or of layer T, or of
// columns that are collected: whether leaving it out leaves a hole. What remains
// are rows that may be of large norm. Like Row, it is to be asked in order.
func (b *Builder) Needs(i int64) bool {
	if b.t.Transposed || len(b.columnAt) > 0 {
		return true
	}
	if b.next < len(b.aligned) && b.aligned[b.next].index == i {
		return true
	}
	return b.inSum(b.m.hash(i))
}

func (b *Builder) inSum(hash uint64) bool { return (hash>>8)%uint64(b.sumRows) == 0 }

// Wanted returns the row numbers of the first n ranks of the aligned sample in
// ascending order, for callers that read only those (quick triage).
func (b *Builder) Wanted(n int) []int64 {
	var out []int64
	for _, s := range b.aligned {
		if s.rank < n {
			out = append(out, s.index)
		}
	}
	return out
}

func (b *Builder) sketchRow(i int64, row []float32) {
	rank := -1
	for b.next < len(b.aligned) && b.aligned[b.next].index < i {
		b.next++ // rows that were left out
	}
	if b.next < len(b.aligned) && b.aligned[b.next].index == i {
		rank = b.aligned[b.next].rank
		b.next++
	}
	if rank >= 0 && rank < formulaRows {
		b.formula[0].Add(row)
	}
	mean, sigma, ok := moments(row)
	if !ok {
		return // not finite: no evidence
	}
	b.finite++
	norm := sigma * float32(math.Sqrt(float64(len(row))))
	h := b.m.hash(i)
	inSum := b.inSum(h)
	inContent := norm > 0 && (len(b.t.Content) < ContentRows || norm > b.t.Content[len(b.t.Content)-1].Norm)
	if rank < 0 && !inSum && !inContent {
		return
	}
	b.accumulate(row, mean, 3*sigma)
	if rank >= 0 || inContent {
		out := Row{Index: i, Norm: norm, Bits: signBits(b.acc[:b.t.Buckets])}
		if rank >= 0 {
			b.t.Aligned[rank] = out
		}
		if inContent {
			b.insertContent(out)
		}
	}
	if inSum {
		group := int(h>>1) & (b.t.Groups - 1)
		simd.AddScaled(b.t.Sum[group*b.t.Buckets:(group+1)*b.t.Buckets], b.acc[:b.t.Buckets], h&1 == 1)
	}
}

func (b *Builder) accumulate(row []float32, mean, limit float32) {
	clear(b.acc[:])
	if b.t.Buckets == 64 {
		simd.AccumulateClipped64((*[64]float32)(b.acc[:64]), row, b.signs, mean, limit)
		return
	}
	simd.AccumulateClipped256(&b.acc, row, b.signs, mean, limit)
}

// insertContent takes in a row that is larger than one of the sample, or is among the first.
func (b *Builder) insertContent(r Row) {
	if b.t.Content == nil {
		b.t.Content = make([]Row, 0, ContentRows) // there are thousands of matrices: no room to grow into
	}
	b.t.Content = b.t.Content[:min(len(b.t.Content), ContentRows-1)]
	at, _ := slices.BinarySearchFunc(b.t.Content, r, func(have, r Row) int {
		if have.Norm >= r.Norm {
			return -1
		}
		return 1
	})
	b.t.Content = slices.Insert(b.t.Content, at, r)
}

// moments returns mean and standard deviation of a row; false where they are not
// finite.
func moments(row []float32) (mean, sigma float32, ok bool) {
	s := simd.Stats(row)
	n := float64(len(row))
	m := float64(s.Sum) / n
	v := float64(s.SumSquares)/n - float64(m*m) // rounded: no fused operation on other processors
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, 0, false
	}
	// Rounding of the sums leaves this much noise: less than it is nothing.
	if v <= 1e-6*m*m {
		v = 0
	}
	return float32(m), float32(math.Sqrt(v)), true
}

func signBits(acc []float32) (out Bits) {
	for i, v := range acc {
		// v > 0 without a branch that nobody can predict: its bits are 1 to those of +Inf.
		positive := (uint64(math.Float32bits(v)-1) - 0x7f800000) >> 63
		out[i/64] |= positive << (i % 64)
	}
	return out
}

// Finish returns the sketch, with a word on why the matrix carries no evidence
// ("equal", "formula"), or "" where it does.
func (b *Builder) Finish() (*Tensor, string) {
	if b.t.Transposed {
		b.sketchColumnsAsRows()
	} else if b.columns != nil {
		b.t.Columns = b.sketchColumns()
	}
	t := b.t
	if len(t.Content) == 0 && b.finite > 0 && b.sumRows > 0 && allZero(t.Aligned) {
		return &t, "equal"
	}
	if b.formula[0].Holds() || b.formula[1].Holds() || allSame(t.Aligned) {
		return &t, "formula"
	}
	return &t, ""
}

// allSame reports whether a matrix repeats one row.
func allSame(rows []Row) bool {
	for _, r := range rows {
		if r.Norm == 0 || r.Norm != rows[0].Norm || r.Bits != rows[0].Bits {
			return false
		}
	}
	return len(rows) >= formulaLeast
}

func allZero(rows []Row) bool {
	for _, r := range rows {
		if r.Norm > 0 {
			return false
		}
	}
	return true
}

// sketchColumnsAsRows sketches a matrix with short rows along its other axis.
func (b *Builder) sketchColumnsAsRows() {
	count, columns := len(b.columnAt), b.columns
	b.columns, b.columnAt = nil, nil
	b.start(b.cols, b.rows)
	if int64(len(columns)) != b.rows*int64(count) {
		return
	}
	b.eachColumn(columns, count, func(i int, column []float32) { b.sketchRow(int64(i), column) })
}

// sketchColumns sketches the collected sample of columns as if they were rows of
// the transposed matrix.
func (b *Builder) sketchColumns() []Row {
	n, count := b.rows, len(b.columnAt)
	if n < MinLength || int64(len(b.columns)) != n*int64(count) {
		return nil
	}
	signs := b.m.signsFor(int(n))
	out := make([]Row, count)
	b.eachColumn(b.columns, count, func(i int, c []float32) {
		out[i].Index = b.columnAt[i]
		if i < formulaRows {
			b.formula[1].Add(c)
		}
		mean, sigma, ok := moments(c)
		if !ok {
			return
		}
		out[i].Norm = sigma * float32(math.Sqrt(float64(n)))
		out[i].Bits = sketchOne(c, signs, mean, 3*sigma, buckets(n))
	})
	return out
}

// columnsAtOnce is how many columns are taken out of rows in one pass: as many float32 as a cache line holds.
const columnsAtOnce = 16

// eachColumn shows the columns of rows of count values in order. A column is valid during the call.
func (b *Builder) eachColumn(rows []float32, count int, show func(i int, column []float32)) {
	n := len(rows) / count
	pitch := n + columnsAtOnce // columns a power of two apart would share the places of a cache
	columns := take(&b.room.turned, int64(pitch*min(count, columnsAtOnce)))
	for first := 0; first < count; first += columnsAtOnce {
		width := min(columnsAtOnce, count-first)
		for r := range n {
			for k, v := range rows[r*count+first:][:width] {
				columns[k*pitch+r] = v
			}
		}
		for k := range width {
			show(first+k, columns[k*pitch:][:n])
		}
	}
}

func sketchOne(row []float32, signs []uint32, mean, limit float32, buckets int) Bits {
	if buckets == 64 {
		var acc [64]float32
		simd.AccumulateClipped64(&acc, row, signs, mean, limit)
		return signBits(acc[:])
	}
	var acc [256]float32
	simd.AccumulateClipped256(&acc, row, signs, mean, limit)
	return signBits(acc[:])
}

// RowOf sketches a single row, as Builder does; false where it is not finite or
// of a length that is not sketched.
func (m *Maker) RowOf(index int64, row []float32) (Row, bool) {
	if len(row) < MinLength || len(row) > MaxLength {
		return Row{}, false
	}
	mean, sigma, ok := moments(row)
	if !ok {
		return Row{}, false
	}
	return Row{Index: index, Norm: sigma * float32(math.Sqrt(float64(len(row)))),
		Bits: sketchOne(row, m.signsFor(len(row)), mean, 3*sigma, buckets(int64(len(row))))}, true
}
