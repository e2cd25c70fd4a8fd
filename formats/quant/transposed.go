package quant

import (
	"weightwarden/formats"
)

// tileBytes bounds the memory of a tile: some rows of a matrix that its file
// stores by columns.
const tileBytes = 4 << 20

// transposed reads a matrix whose columns are contiguous, some rows at a time:
// each column gives a short run, and a tile of them is turned around in memory.
type transposed struct {
	t            *formats.Tensor
	decode       decoder
	rows, cols   int64
	stride       int64 // elements between the columns
	width        int64 // bytes of an element
	swap         int
	depth        int64 // rows of a tile
	first, valid int64 // the rows that tile holds
	tile         []float32
	run          []byte
	column       []float32
}

// openTransposed serves [rows, cols] with strides [1, s]; false for other tensors.
func openTransposed(t *formats.Tensor) (rowSource, bool) {
	if len(t.Shape) != 2 || t.Data.Strides[0] != 1 || t.Data.Strides[1] <= 1 || Numbers(t.DType) != 1 || t.Shape[0] == 1 {
		return nil, false
	}
	_, bits := t.DType.Block()
	depth := min(t.Shape[0], tileBytes/4/t.Shape[1])
	if depth < 8 { // rows too long to hold some of them
		return nil, false
	}
	s := &transposed{t: t, decode: decoderOf(t.DType), rows: t.Shape[0], cols: t.Shape[1],
		stride: t.Data.Strides[1], width: bits / 8, depth: depth}
	if t.Data.BigEndian {
		s.swap = wordBytes(t.DType)
	}
	s.tile = make([]float32, depth*s.cols)
	s.run = make([]byte, depth*s.width)
	s.column = make([]float32, depth)
	return s, true
}

func (s *transposed) read(dst []float32, row, col int64) error {
	if row < s.first || row >= s.first+s.valid {
		if err := s.load(row); err != nil {
			return err
		}
	}
	at := (row-s.first)*s.cols + col
	copy(dst, s.tile[at:at+int64(len(dst))])
	return nil
}

// load fills the tile with the rows from row on.
func (s *transposed) load(row int64) error {
	n := min(s.depth, s.rows-row)
	run, column := s.run[:n*s.width], s.column[:n]
	s.valid = 0
	for c := range s.cols {
		if err := formats.ReadFull(s.t.Data.Source, run, s.t.Data.Offset+(row+c*s.stride)*s.width); err != nil {
			return err
		}
		swapWords(run, s.swap)
		s.decode(column, run)
		for i, x := range column {
			s.tile[int64(i)*s.cols+c] = x
		}
	}
	s.first, s.valid = row, n
	return nil
}
