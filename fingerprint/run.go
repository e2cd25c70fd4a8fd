package fingerprint

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// run is numbers one behind another: a tensor, or bytes that nobody says anything of.
type run struct {
	name, member string
	source       formats.Source
	offset       int64 // bytes
	length       int64 // bytes, whole blocks
	dtype        formats.DType
	elements     int64
	block, size  int64 // elements of a block, and its bytes
	tensor       int   // of the model, -1 for none
}

func newRun(t *formats.Tensor, d formats.DType, skip int64) (run, bool) {
	block, bits := d.Block()
	size := bits / 8
	r := run{tensor: -1, name: t.Name, member: t.Member, source: t.Data.Source, offset: t.Data.Offset + skip, dtype: d, block: block, size: size}
	if size <= 0 || bits%8 != 0 || !quant.CanDecode(d) {
		return r, false
	}
	r.length = min(t.Data.Length-skip, t.Data.Source.Size()-r.offset) / size * size
	r.elements = r.length / size * block
	return r, r.offset >= 0 && r.length > 0
}

// read decodes the numbers from element at on. raw is scratch memory.
func (r *run) read(dst []float32, at int64, raw *[]byte) error {
	first, skip := at/r.block, int(at%r.block)
	blocks := (int64(skip+len(dst)) + r.block - 1) / r.block
	if at < 0 || (first+blocks)*r.size > r.length {
		return fmt.Errorf("numbers %d to %d of %d", at, at+int64(len(dst)), r.elements)
	}
	*raw = slices.Grow((*raw)[:0], int(blocks*r.size))[:blocks*r.size]
	if err := formats.ReadFull(r.source, *raw, r.offset+first*r.size); err != nil {
		return err
	}
	if skip == 0 && len(dst)%int(r.block) == 0 {
		return DecodeValues(r.dtype, dst, *raw)
	}
	whole := make([]float32, blocks*r.block)
	if err := DecodeValues(r.dtype, whole, *raw); err != nil {
		return err
	}
	copy(dst, whole[skip:])
	return nil
}

// Bounds of what is taken for a run.
const (
	leastRun    = 16 << 10  // elements
	mostRuns    = 32        // of one file
	mostLoose   = 256       // runs of bytes that are looked at, the longest
	fewTensors  = 4         // a file of no more may hold a model in each
	leastTensor = 1 << 20   // elements of such a tensor
	probes      = 64        // places where numbers are looked at
	probeValues = 1 << 10   // at each of them
	tiny, huge  = -45., 12. // powers of two that weights lie between
)

// runsOf lists what in a file may be many matrices one behind another: flat tensors,
// bytes of no tensor, and the tensors of files that have very few; the longest first.
func runsOf(m *formats.Model, loose []Loose) []run {
	var out []run
	loose = slices.Clone(loose)
	slices.SortStableFunc(loose, func(a, b Loose) int { return cmp.Compare(b.Data.Length, a.Data.Length) })
	for _, l := range loose[:min(len(loose), mostLoose)] {
		out = append(out, readAs(&formats.Tensor{Member: l.Member, Data: l.Data})...)
	}
	if m == nil {
		m = &formats.Model{}
	}
	for i := range m.Tensors {
		t := &m.Tensors[i]
		if t.Data.Source == nil || t.Data.Strides != nil || t.Data.BigEndian || t.Data.Length < leastRun {
			continue
		}
		rows, cols, ok := quant.Matrix(t.Shape)
		flat := !ok || !rowsFit(rows, cols)
		if !flat && (len(m.Tensors) > fewTensors || rows*cols < leastTensor) {
			continue
		}
		for _, r := range readAs(t) {
			r.tensor = i
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b run) int { return cmp.Compare(b.elements, a.elements) })
	return out[:min(len(out), mostRuns)]
}

// readAs lists the number formats in which the bytes of a tensor look like weights.
func readAs(t *formats.Tensor) []run {
	_, bits := t.DType.Block()
	if t.DType.IsBlock() {
		if r, ok := newRun(t, t.DType, 0); ok && r.elements >= leastRun {
			return []run{r}
		}
		return nil
	}
	phases := t.DType == formats.Unknown || bits == 8 // of bytes nobody knows where a number begins
	for _, d := range []formats.DType{formats.BF16, formats.F16, formats.F32, formats.F64} {
		size, _ := d.Bytes(1)
		for skip := int64(0); skip == 0 || phases && skip < size; skip++ {
			if r, ok := newRun(t, d, skip); ok && r.elements >= leastRun && r.plausible() {
				return []run{r} // halves look like whole numbers too, so they are tried first
			}
		}
	}
	return narrow(t, phases)
}

// narrow is readAs for numbers of one byte: what the tensor says, and whole numbers
// that lie around zero, or around the middle of bytes, as quantised weights do.
func narrow(t *formats.Tensor, anything bool) []run {
	types := []formats.DType{t.DType}
	if anything {
		types = []formats.DType{formats.I8, formats.U8, formats.F8E4M3, formats.F8E5M2}
	}
	var counts *[256]float64
	for _, d := range types {
		_, bits := d.Block()
		r, ok := newRun(t, d, 0)
		if !ok || bits != 8 || r.elements < leastRun {
			continue
		}
		if d != t.DType && counts == nil {
			counts = r.census()
		}
		if d == t.DType || belled(d, counts) {
			return []run{r}
		}
	}
	return nil
}

// census counts how often each byte occurs in a sample of a run of numbers of one byte; what cannot be read is
// left out.
func (r *run) census() *[256]float64 {
	var counts [256]float64
	sample := make([]byte, min(probeValues, r.elements))
	for i := range int64(probes) {
		if formats.ReadFull(r.source, sample, r.offset+(r.elements-int64(len(sample)))/probes*i) == nil {
			for _, b := range sample {
				counts[b]++
			}
		}
	}
	return &counts
}

// number is how often a number occurs.
type number struct{ value, count float64 }

// numbersOf orders the counts of bytes by the numbers that they are; what is not finite is left out.
func numbersOf(d formats.DType, counts *[256]float64) []number {
	var codes [256]byte
	for i := range codes {
		codes[i] = byte(i)
	}
	var values [256]float32
	if DecodeValues(d, values[:], codes[:]) != nil {
		return nil
	}
	var out []number
	for i, v := range values {
		if f := float64(v); !math.IsNaN(f) && !math.IsInf(f, 0) {
			out = append(out, number{f, counts[i]})
		}
	}
	slices.SortStableFunc(out, func(a, b number) int { return cmp.Compare(a.value, b.value) })
	return out
}

// belled reports whether numbers of one byte are distributed like weights: even about
// their mean, the fewer the further from it, and without steps. Text, pictures, programs
// and what is packed are not.
func belled(d formats.DType, counts *[256]float64) bool {
	numbers := numbersOf(d, counts)
	var all, mean, entropy float64
	for _, n := range numbers {
		all += n.count
		mean += n.count * n.value
	}
	if all == 0 {
		return false
	}
	mean /= all
	var m [5]float64 // moments about the mean
	for _, n := range numbers {
		x := n.value - mean
		for k, power := 2, x*x; k < len(m); k++ {
			m[k] += n.count / all * power
			power *= x
		}
		if n.count > 0 {
			entropy -= n.count / all * math.Log2(n.count/all)
		}
	}
	if m[2] == 0 || entropy > mostEntropy || !smooth(d, numbers, all) {
		return false
	}
	sigma := math.Sqrt(m[2])
	skew, kurtosis := m[3]/(sigma*m[2]), m[4]/(m[2]*m[2])
	centred := d == formats.U8 && math.Abs(mean-128) < sigma/2 || d != formats.U8 && math.Abs(mean) < sigma/4
	return centred && math.Abs(skew) < .5 && kurtosis > 2.3 && kurtosis < 400
}

// mostEntropy, in bits, is above that of weights in one byte, of many scales too, and below that of
// what is packed or encrypted, which as floats of one byte is even about its mean.
const mostEntropy = 7.6

// smooth reports whether neighbouring numbers occur about as often, with one peak, or one on each side of zero where
// floats lie the closer the smaller they are: up to a peak and down again is twice its height. Of machine code some
// bytes are common, and their neighbours are not.
func smooth(d formats.DType, numbers []number, all float64) bool {
	parts := [][]number{numbers}
	if d != formats.I8 && d != formats.U8 {
		below, _ := slices.BinarySearchFunc(numbers, 0, func(n number, v float64) int { return cmp.Compare(n.value, v) })
		above := below
		for above < len(numbers) && numbers[above].value == 0 { // of two signs
			above++
		}
		parts = [][]number{numbers[:below], numbers[above:]}
	}
	more := 18*math.Sqrt(all) + .15*all // steps of a sample of all the 256, at most, and some
	for _, part := range parts {
		steps, peak, before := 0., 0., 0.
		for _, n := range part {
			steps += math.Abs(n.count - before)
			peak, before = max(peak, n.count), n.count
		}
		more -= steps + before - 2*peak
	}
	return more >= 0
}

// plausible reports whether the numbers look like weights: finite, of few orders of
// magnitude, and none of their bits settled by something else.
func (r *run) plausible() bool {
	var raw []byte
	values := make([]float32, min(probeValues, r.elements))
	numbers, within, leading := 0, 0, 0
	var apart [2]int // numbers at even and odd places
	negative := 0
	var sum, squares float64
	for i := range int64(probes) {
		at := (r.elements - int64(len(values))) / probes * i / r.block * r.block
		if r.read(values, at, &raw) != nil {
			return false
		}
		for k, v := range values {
			if v == 0 {
				continue
			}
			numbers++
			apart[k%2]++
			if v < 0 {
				negative++
			}
			fraction, exponent := math.Frexp(float64(v))
			if e := float64(exponent); e > tiny && e < huge && !math.IsNaN(fraction) && !math.IsInf(fraction, 0) {
				within++
				sum += e
				squares += e * e
			}
			if math.Abs(fraction) >= .75 {
				leading++
			}
		}
		if numbers > 4*probeValues && within < numbers/2 {
			return false // no need to look further
		}
	}
	n := float64(within)
	if numbers < probeValues || n < .98*float64(numbers) {
		return false
	}
	if min(negative, numbers-negative) < numbers/8 {
		return false // text, tables of offsets
	}
	if min(apart[0], apart[1]) < numbers/8 {
		return false // halves of wider numbers that were rounded before
	}
	spread := math.Sqrt(max(0, squares/n-sum/n*sum/n))
	share := float64(leading) / float64(numbers)
	return spread < 4 && share > .25 && share < .75
}
