package quant

import "weightwarden/formats"

// transposed reads a matrix of plain numbers that is stored by columns: each
// column gives a short run, and a tile of them is turned around in memory.
type transposed struct {
	src    formats.Source
	offset int64
	decode decoder
	stride int64 // bytes between the columns
	width  int64 // bytes of a number
	swap   func([]byte)
	run    []byte
	column []float32
}

// openTransposed serves [rows, cols] with strides [1, s]; false for other tensors.
func openTransposed(t *formats.Tensor) (rowSource, bool) {
	if len(t.Shape) != 2 || t.Data.Strides[0] != 1 || t.Data.Strides[1] <= 1 || t.Shape[0] == 1 || t.Shape[1] == 1 || Numbers(t.DType) != 1 {
		return nil, false
	}
	_, bits := t.DType.Block()
	s := &transposed{src: t.Data.Source, offset: t.Data.Offset, decode: decoderOf(t.DType),
		stride: t.Data.Strides[1] * bits / 8, width: bits / 8}
	s.swap, _ = bigEndian(t)
	return newTiled(s, t.Shape[0], t.Shape[1]), true
}

func (s *transposed) fill(dst []float32, row, n, col, w int64) error {
	if int64(len(s.column)) < n {
		s.run, s.column = make([]byte, n*s.width), make([]float32, n)
	}
	run, column := s.run[:n*s.width], s.column[:n]
	for c := range w {
		if err := formats.ReadFull(s.src, run, s.offset+row*s.width+(col+c)*s.stride); err != nil {
			return err
		}
		if s.swap != nil {
			s.swap(run)
		}
		s.decode(column, run)
		for i, x := range column {
			dst[int64(i)*w+c] = x
		}
	}
	return nil
}
