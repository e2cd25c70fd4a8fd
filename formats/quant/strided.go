package quant

import (
	"fmt"

	"weightwarden/formats"
)

// maxRepeat is how often the bytes of a source may be read through strides that
// overlap, so that a file of some bytes cannot claim to be 10^18 numbers.
const maxRepeat = 16

// stridesFit reports whether every element of a strided tensor lies inside its
// source, and whether the tensor is no more than maxRepeat times the source.
func stridesFit(t *formats.Tensor) bool {
	per, bits := t.DType.Block()
	if per != 1 || bits%8 != 0 || len(t.Shape) == 0 || len(t.Data.Strides) != len(t.Shape) {
		return false
	}
	if size := t.Data.Source.Size(); t.Elements()/maxRepeat > size/(bits/8)+4096 {
		return false
	}
	const most = 1 << 56
	low, high := int64(0), int64(0)
	for i, d := range t.Shape {
		s := t.Data.Strides[i]
		if s > most || s < -most || s != 0 && d-1 > most/max(s, -s) {
			return false
		}
		if reach := (d - 1) * s; reach < 0 {
			low += reach
		} else {
			high += reach
		}
		if low < -most || high > most {
			return false
		}
	}
	width, e := bits/8, t.Data
	return low > -(most/width) && high < most/width && e.Offset+low*width >= 0 &&
		high < (e.Source.Size()-e.Offset)/width
}

// strided reads a tensor whose elements do not follow each other. It gathers
// single elements through a window of the source; a tensor with a contiguous
// first axis (a transposed matrix) is better read in tiles, see openStrided.
type strided struct {
	t      *formats.Tensor
	decode decoder
	width  int64 // bytes of an element
	per    int64 // numbers of an element
	cols   int64
	swap   func([]byte)
	index  []int64
	gather []byte // elements in logical order, at most scratchBytes
	window []byte
	at, n  int64 // what part of the source the window holds
	jumps  bool  // neighbours lie too far apart for a window to pay
}

func openStrided(t *formats.Tensor, cols int64) (rowSource, error) {
	f := decoderOf(t.DType)
	if f == nil || !readable(t) {
		return nil, fmt.Errorf("%w: strided %s", formats.ErrUnsupported, t.DType)
	}
	if s, ok := openTransposed(t); ok {
		return s, nil
	}
	_, bits := t.DType.Block()
	s := &strided{t: t, decode: f, width: bits / 8, per: Numbers(t.DType), cols: cols,
		index: make([]int64, len(t.Shape)), window: make([]byte, 64<<10)}
	s.gather = make([]byte, scratchBytes/s.width*s.width)
	if step := t.Data.Strides[len(t.Shape)-1]; step*s.width > int64(len(s.window))/16 || step*s.width < -int64(len(s.window))/16 {
		s.jumps = true
	}
	s.swap, _ = bigEndian(t)
	return s, nil
}

func (s *strided) runsOn() {}

func (s *strided) read(dst []float32, row, col int64) error {
	at := row*s.cols + col
	for len(dst) > 0 {
		// Whole elements: a complex one may be cut at either end.
		first := at / s.per
		skip := int(at % s.per)
		n := min(int64(len(s.gather))/s.width, (int64(skip+len(dst))+s.per-1)/s.per)
		buf := s.gather[:n*s.width]
		if err := s.collect(buf, first); err != nil {
			return err
		}
		if s.swap != nil {
			s.swap(buf)
		}
		got := min(int(n*s.per)-skip, len(dst))
		if skip == 0 && int64(got) == n*s.per {
			s.decode(dst[:got], buf)
		} else {
			s.cut(dst[:got], buf, skip)
		}
		dst, at = dst[got:], at+int64(got)
	}
	return nil
}

// cut decodes elements of which the first or last number is not wanted.
func (s *strided) cut(dst []float32, buf []byte, skip int) {
	var pair [2]float32
	for i := range dst {
		k := (i + skip) / int(s.per)
		s.decode(pair[:s.per], buf[k*int(s.width):(k+1)*int(s.width)])
		dst[i] = pair[(i+skip)%int(s.per)]
	}
}

// collect copies elements from element first on to buf.
func (s *strided) collect(buf []byte, first int64) error {
	off := int64(0)
	for i := len(s.index) - 1; i >= 0; i-- {
		s.index[i] = first % s.t.Shape[i]
		first /= s.t.Shape[i]
		off += s.index[i] * s.t.Data.Strides[i]
	}
	for len(buf) > 0 {
		if err := s.element(buf[:s.width], s.t.Data.Offset+off*s.width); err != nil {
			return err
		}
		buf = buf[s.width:]
		for i := len(s.index) - 1; i >= 0; i-- {
			off += s.t.Data.Strides[i]
			if s.index[i]++; s.index[i] < s.t.Shape[i] {
				break
			}
			off -= s.index[i] * s.t.Data.Strides[i]
			s.index[i] = 0
		}
	}
	return nil
}

func (s *strided) element(dst []byte, off int64) error {
	if off < s.at || off+s.width > s.at+s.n {
		n := min(int64(len(s.window)), s.t.Data.Source.Size()-off)
		if s.jumps {
			n = s.width
		}
		s.n = 0
		if err := formats.ReadFull(s.t.Data.Source, s.window[:n], off); err != nil {
			return err
		}
		s.at, s.n = off, n
	}
	copy(dst, s.window[off-s.at:])
	return nil
}
