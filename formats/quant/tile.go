package quant

// tileBytes bounds the numbers that a tile holds in memory.
const tileBytes = 4 << 20

// Tiles start at multiples of tileRows and tileCols, which every packing divides.
const (
	tileRows = 8
	tileCols = 256
)

// tiler makes pieces of a matrix whose rows do not lie together in the file: one
// stored by columns, or several rows woven into each other.
type tiler interface {
	// fill writes n rows of w numbers each, from a row and column on, to dst. The
	// row is a multiple of tileRows and the column one of tileCols; n and w are
	// multiples, too, unless they end at the edge of the matrix.
	fill(dst []float32, row, n, col, w int64) error
}

// tiled reads rows through tiles. Where rows are read in order tiles grow, so
// that the file is read in long runs; a row read at random costs a small tile.
type tiled struct {
	from       tiler
	rows, cols int64
	tile       []float32
	row, n     int64 // what the tile holds, nothing while n is 0
	col, w     int64
	grow       int64 // rows of the next tile in order
}

func newTiled(from tiler, rows, cols int64) *tiled {
	return &tiled{from: from, rows: rows, cols: cols, grow: tileRows}
}

func (t *tiled) read(dst []float32, row, col int64) error {
	for len(dst) > 0 {
		if row < t.row || row >= t.row+t.n || col < t.col || col >= t.col+t.w {
			if err := t.load(row, col); err != nil {
				return err
			}
		}
		from := t.tile[(row-t.row)*t.w:][col-t.col : t.w]
		k := copy(dst, from)
		dst, col = dst[k:], col+int64(k)
	}
	return nil
}

// load fills the tile with what lies around a row and a column.
func (t *tiled) load(row, col int64) error {
	const most = tileBytes / 4
	w := min(t.cols, most/tileRows)
	if w < t.cols {
		w = w / tileCols * tileCols
	}
	deepest := max(most/w/tileRows*tileRows, tileRows)
	if t.n > 0 && row == t.row+t.n {
		t.grow = min(2*t.grow, deepest)
	} else {
		t.grow = tileRows
	}
	t.row, t.col, t.n = row/tileRows*tileRows, col/w*w, 0
	t.w = min(w, t.cols-t.col)
	n := min(t.grow, t.rows-t.row)
	if need := n * t.w; int64(cap(t.tile)) < need {
		t.tile = make([]float32, need)
	}
	t.tile = t.tile[:n*t.w]
	if err := t.from.fill(t.tile, t.row, n, t.col, t.w); err != nil {
		return err
	}
	t.n = n
	return nil
}
