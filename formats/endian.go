package formats

import (
	"fmt"
	"io"
	"slices"
)

// Halves lists where the 16-bit numbers of a block lie, in bytes, for the block
// types that consist of such and of single bytes: those that big-endian GGUF files
// can hold (gguf's gguf_convert_endian writes Q4_0, Q8_0, Q4_K, Q6_K, MXFP4 and
// NVFP4). False for types with wider fields, of whose order nothing is known, and
// for plain types.
func (d DType) Halves() ([]int, bool) {
	switch d {
	case Q4_0, Q8_0, IQ4_NL, IQ2_S, IQ3_S, Q1_0, Q2_0:
		return []int{0}, true
	case Q4_1, Q4_K, Q5_K:
		return []int{0, 2}, true
	case Q2_K:
		return []int{80, 82}, true
	case Q3_K:
		return []int{108}, true
	case Q6_K:
		return []int{208}, true
	case TQ1_0:
		return []int{52}, true
	case TQ2_0:
		return []int{64}, true
	case MXFP4, NVFP4:
		return nil, true
	}
	return nil, false
}

// ByteOrder returns what turns big-endian elements of d into little-endian ones
// and back, in place, and how many bytes belong together: the slices it is given
// are whole multiples of that. The function is nil where byte order does not
// matter; false where it matters and nothing is known.
func (d DType) ByteOrder() (swap func([]byte), unit int, ok bool) {
	elements, bits := d.Block()
	size := int(bits / 8)
	if d.IsBlock() {
		halves, ok := d.Halves()
		if !ok || elements == 0 {
			return nil, 1, false
		}
		if len(halves) == 0 {
			return nil, 1, true
		}
		return func(b []byte) { swapHalves(b, size, halves) }, size, true
	}
	switch d {
	case C32, C64, C128: // two numbers
		size /= 2
	}
	if size < 2 {
		return nil, 1, true
	}
	return func(b []byte) { swapWords(b, size) }, size, true
}

// swapHalves reverses the 16-bit numbers of blocks of a size.
func swapHalves(b []byte, size int, halves []int) {
	for block := range slices.Chunk(b, size) {
		for _, at := range halves {
			if at+1 < len(block) {
				block[at], block[at+1] = block[at+1], block[at]
			}
		}
	}
}

// swapWords reverses the bytes of every word of a width.
func swapWords(b []byte, width int) {
	for ; len(b) >= width; b = b[width:] {
		slices.Reverse(b[:width])
	}
}

// swapReader turns big-endian contents into little-endian ones.
type swapReader struct {
	r     io.Reader
	swap  func([]byte)
	unit  int
	buf   []byte
	store []byte // whole units
}

func newSwapReader(r io.Reader, swap func([]byte), unit int) *swapReader {
	return &swapReader{r: r, swap: swap, unit: unit, store: make([]byte, 8<<10/unit*unit)}
}

// Read implements io.Reader.
func (s *swapReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(s.buf) == 0 {
		n, err := io.ReadFull(s.r, s.store)
		if n == 0 {
			return 0, err
		}
		if n%s.unit != 0 {
			return 0, fmt.Errorf("%w: %d bytes are no whole elements", ErrTruncated, n)
		}
		s.swap(s.store[:n])
		s.buf = s.store[:n]
	}
	n := copy(p, s.buf)
	s.buf = s.buf[n:]
	return n, nil
}
