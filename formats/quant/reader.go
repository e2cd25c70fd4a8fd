package quant

import (
	"fmt"

	"weightwarden/formats"
)

// Reader reads the numbers of one View. It keeps scratch memory of some MiB at
// most, whatever the size of the view. Use one Reader per goroutine.
type Reader struct {
	src        rowSource
	rows, cols int64
	name       string
}

// Reader opens v for reading. Nothing is read yet. There is nothing to close.
func (v *View) Reader() (*Reader, error) {
	if v.open == nil {
		return nil, fmt.Errorf("%w: view %.200q was not made by Views", formats.ErrUnsupported, v.Name)
	}
	src, err := v.open()
	if err != nil {
		return nil, fmt.Errorf("view %.200q: %w", v.Name, err)
	}
	if p, ok := src.(*packedRows); ok && v.Kernels != nil {
		p.prefer(v.Kernels(p.dtype))
	}
	return &Reader{src: src, rows: v.Rows, cols: v.Cols, name: v.Name}, nil
}

// ReadRows reads rows [first, first+n) into dst, row-major: dst must hold n*Cols
// numbers. Rows may be read in any order; ascending order is the fastest.
func (r *Reader) ReadRows(dst []float32, first, n int64) error {
	if first < 0 || n < 0 || first > r.rows || n > r.rows-first {
		return fmt.Errorf("view %.200q: rows %d+%d outside of %d", r.name, first, n, r.rows)
	}
	if n > 0 && int64(len(dst))/n < r.cols {
		return fmt.Errorf("view %.200q: %d numbers cannot hold %d rows of %d", r.name, len(dst), n, r.cols)
	}
	if c, ok := r.src.(contiguous); ok && n > 0 {
		return r.wrap(c.read(dst[:n*r.cols], first, 0))
	}
	for i := range n {
		if err := r.src.read(dst[i*r.cols:(i+1)*r.cols], first+i, 0); err != nil {
			return r.wrap(err)
		}
	}
	return nil
}

// ReadPart reads len(dst) numbers of one row, from column col on: for rows that
// are too long to be held, such as a whole model flattened to one axis.
func (r *Reader) ReadPart(dst []float32, row, col int64) error {
	if row < 0 || row >= r.rows || col < 0 || col > r.cols || int64(len(dst)) > r.cols-col {
		return fmt.Errorf("view %.200q: %d numbers at row %d column %d outside of %d by %d",
			r.name, len(dst), row, col, r.rows, r.cols)
	}
	return r.wrap(r.src.read(dst, row, col))
}

func (r *Reader) wrap(err error) error {
	if err != nil {
		return fmt.Errorf("view %.200q: %w", r.name, err)
	}
	return nil
}

// contiguous is a rowSource whose read may run on over the end of a row into the
// next ones.
type contiguous interface {
	rowSource
	runsOn()
}
