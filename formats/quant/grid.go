package quant

import (
	"weightwarden/formats"
)

// gridShape says which number of a smaller matrix belongs to an element of a
// larger one: scales or zero points of blocks of rows and columns.
type gridShape struct {
	plane  int64 // rows of the matrix per plane (an expert of a stack, else all)
	planes int64 // planes that the grid has: as many as the matrix, or 1 for all
	rows   int64 // grid rows of a plane
	cols   int64 // grid columns
	br, bc int64 // rows and columns of the matrix per number
}

// fitGrid sees shape as a grid over a matrix of the given shape (two axes or
// more): one number for all, one a row, one a column, or one for each block.
func fitGrid(matrix, shape []int64) (gridShape, bool) {
	n, ok := formats.Elements(shape)
	if !ok || n == 0 || len(matrix) < 2 {
		return gridShape{}, false
	}
	lead, rows, cols := matrix[:len(matrix)-2], matrix[len(matrix)-2], matrix[len(matrix)-1]
	experts, _ := formats.Elements(lead)
	g := gridShape{plane: rows, planes: experts, rows: 1, cols: 1}
	switch {
	case n == 1:
		g.planes = 1
	case len(shape) == len(matrix):
		g.rows, g.cols = shape[len(shape)-2], shape[len(shape)-1]
		if p, _ := formats.Elements(shape[:len(shape)-2]); p == 1 {
			g.planes = 1
		} else if p != experts {
			return g, false
		}
	case n == rows*experts && (len(shape) == 1 || len(shape) == len(matrix)-1):
		g.rows = rows
	case n == experts && len(shape) == len(lead):
	case n == cols && len(shape) == 1:
		g.planes, g.cols = 1, cols
	default:
		return g, false
	}
	return g.blocks(rows, cols)
}

// blocks computes the block lengths, and refuses grids that no packer makes.
func (g gridShape) blocks(rows, cols int64) (gridShape, bool) {
	g.br, g.bc = blockLength(rows, g.rows), blockLength(cols, g.cols)
	return g, g.br > 0 && g.bc > 0
}

// blockLength is how long the blocks are of which n cover an axis, the last one
// perhaps in part; 0 where no usual length fits.
func blockLength(axis, n int64) int64 {
	switch {
	case n < 1 || n > axis:
		return 0
	case n == 1:
		return axis
	case n == axis:
		return 1
	}
	for _, length := range []int64{128, 64, 32, 16, 256, 512, 1024, 8} {
		if (axis+length-1)/length == n {
			return length
		}
	}
	if axis%n == 0 && axis/n%8 == 0 {
		return axis / n
	}
	return 0
}

// numbers is a flat array of numbers in a file.
type numbers interface {
	readAt(dst []float32, at int64) error
}

// grid reads the numbers that belong to a row of a matrix.
type grid struct {
	gridShape
	src   numbers
	width int64 // numbers from one grid row to the next in the file, at least cols
	buf   []float32
	first int64 // grid row at the start of buf
	n     int64 // grid rows in buf
	total int64 // grid rows in the file
}

func openGrid(t *formats.Tensor, shape gridShape) (*grid, error) {
	src, err := openPacked(t)
	if err != nil {
		return nil, err
	}
	return newGrid(src, shape, shape.cols), nil
}

func newGrid(src numbers, shape gridShape, width int64) *grid {
	return &grid{gridShape: shape, src: src, width: width, total: shape.rows * shape.planes}
}

// row returns the grid row that belongs to a row of the matrix, valid until the
// next call.
func (g *grid) row(row int64) ([]float32, error) {
	at := row % g.plane / g.br
	if g.planes > 1 {
		at += row / g.plane * g.rows
	}
	if at < g.first || at >= g.first+g.n {
		if err := g.load(at); err != nil {
			return nil, err
		}
	}
	return g.buf[(at-g.first)*g.width:][:g.cols], nil
}

// load reads some grid rows at once, since many are a number or two long.
func (g *grid) load(at int64) error {
	n := min(max(1, 1024/g.width), g.total-at)
	if int64(cap(g.buf)) < n*g.width {
		g.buf = make([]float32, n*g.width)
	}
	g.buf, g.n = g.buf[:n*g.width], 0
	if err := g.src.readAt(g.buf, at*g.width); err != nil {
		return err
	}
	g.first, g.n = at, n
	return nil
}
