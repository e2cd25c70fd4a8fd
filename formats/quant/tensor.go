package quant

import (
	"fmt"

	"weightwarden/formats"
)

// scratchBytes is how much a reader takes from its source at once: large enough
// for full speed, small enough to stay in a processor's second-level cache.
const scratchBytes = 256 << 10

// openTensor reads one plain or block tensor as rows of cols numbers.
func openTensor(t *formats.Tensor, cols int64) (rowSource, error) {
	if t.Data.Strides != nil {
		return openStrided(t, cols)
	}
	p, err := openPacked(t)
	if err != nil {
		return nil, err
	}
	return &packedRows{packed: p, cols: cols}, nil
}

// packed reads the numbers of a contiguous tensor by index.
type packed struct {
	src    formats.Source
	offset int64
	dtype  formats.DType
	decode decoder
	total  int64        // numbers
	step   int64        // numbers that start on a byte and on a block
	bytes  int64        // bytes of a step
	bits   int64        // of a number narrower than a byte, else 0
	swap   func([]byte) // of big-endian contents, else nil
	unit   int64        // bytes that swap takes together
	buf    []byte
	tmp    []float32
}

func openPacked(t *formats.Tensor) (*packed, error) {
	f := decoderOf(t.DType)
	if f == nil {
		return nil, fmt.Errorf("%w: no value decoder for %s", formats.ErrUnsupported, t.DType)
	}
	if !readable(t) {
		return nil, fmt.Errorf("%w: the data of tensor %.200q cannot be reached", formats.ErrTruncated, t.Name)
	}
	n, _ := formats.Elements(t.Shape)
	per, bits := t.DType.Block()
	p := &packed{src: t.Data.Source, offset: t.Data.Offset, dtype: t.DType, decode: f,
		total: n * Numbers(t.DType), step: per * Numbers(t.DType), bytes: bits / 8}
	if bits < 8 {
		p.step, p.bytes, p.bits = 8, bits, bits
	}
	p.swap, p.unit = bigEndian(t)
	p.allocate()
	return p, nil
}

// openCodes reads a contiguous tensor as a stream of unsigned codes of 1 to 8
// bits, low bits first, whatever its own type: words that hold several codes.
func openCodes(t *formats.Tensor, bits int64, f decoder) (*packed, error) {
	if !readable(t) || t.Data.Strides != nil {
		return nil, fmt.Errorf("%w: the data of tensor %.200q cannot be reached", formats.ErrTruncated, t.Name)
	}
	n, _ := formats.Elements(t.Shape)
	size, err := packedBytes(t.DType, n)
	if err != nil {
		return nil, err
	}
	p := &packed{src: t.Data.Source, offset: t.Data.Offset, decode: f, total: size * 8 / bits, step: 8, bytes: bits, bits: bits}
	if p.swap, p.unit = bigEndian(t); p.swap != nil {
		p.step, p.bytes = 8*p.unit, bits*p.unit // whole words
	}
	p.allocate()
	return p, nil
}

// allocate makes the scratch memory: whole steps, and one step decoded.
func (p *packed) allocate() {
	p.buf = make([]byte, max(p.bytes, min(scratchBytes/p.bytes, (p.total+p.step-1)/p.step)*p.bytes))
	p.tmp = make([]float32, p.step)
}

// bigEndian returns what turns the contents of t into little-endian ones, nil where
// they are, and how many bytes belong together.
func bigEndian(t *formats.Tensor) (swap func([]byte), unit int64) {
	if !t.Data.BigEndian {
		return nil, 1
	}
	f, n, _ := t.DType.ByteOrder()
	return f, int64(n)
}

// prefer takes a faster decoder, if there is one.
func (p *packed) prefer(fast func(dst []float32, src []byte) int) {
	if fast == nil {
		return
	}
	slow := p.decode
	p.decode = func(dst []float32, src []byte) {
		if fast(dst, src) != len(dst) {
			slow(dst, src)
		}
	}
}

// readAt reads len(dst) numbers from number at on.
func (p *packed) readAt(dst []float32, at int64) error {
	if at < 0 || at > p.total || int64(len(dst)) > p.total-at {
		return fmt.Errorf("%w: %d numbers at %d of %d", formats.ErrTruncated, len(dst), at, p.total)
	}
	for len(dst) > 0 {
		n, err := p.some(dst, at)
		if err != nil {
			return err
		}
		dst, at = dst[n:], at+int64(n)
	}
	return nil
}

// some reads as much as fits the scratch buffer, or the wanted part of one step
// where the beginning or the end of dst lies inside of it.
func (p *packed) some(dst []float32, at int64) (int, error) {
	if at%p.step != 0 || int64(len(dst)) < p.step {
		first := at / p.step * p.step
		tmp := p.tmp[:min(p.step, p.total-first)]
		if err := p.fill(tmp, first); err != nil {
			return 0, err
		}
		return copy(dst, tmp[at-first:]), nil
	}
	n := min(int64(len(dst))/p.step, int64(len(p.buf))/p.bytes) * p.step
	return int(n), p.fill(dst[:n], at)
}

// fill reads dst, which starts on a step and fits the scratch buffer.
func (p *packed) fill(dst []float32, at int64) error {
	steps := (int64(len(dst)) + p.step - 1) / p.step
	buf := p.buf[:steps*p.bytes]
	if p.bits > 0 { // the last step of a narrow type may be ragged
		buf = buf[:(int64(len(dst))*p.bits+8*p.unit-1)/(8*p.unit)*p.unit]
	}
	if err := formats.ReadFull(p.src, buf, p.offset+at/p.step*p.bytes); err != nil {
		return err
	}
	if p.swap != nil {
		p.swap(buf)
	}
	p.decode(dst, buf)
	return nil
}

// packedRows reads a contiguous tensor by row and column.
type packedRows struct {
	*packed
	cols int64
}

func (p *packedRows) read(dst []float32, row, col int64) error { return p.readAt(dst, row*p.cols+col) }

func (p *packedRows) runsOn() {}
