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
	for _, d := range types {
		_, bits := d.Block()
		if r, ok := newRun(t, d, 0); ok && bits == 8 && r.elements >= leastRun && (d == t.DType || r.belled()) {
			return []run{r}
		}
	}
	return nil
}

// belled reports whether numbers of one byte are distributed like weights: even about
// their mean, and the fewer the further from it. Text, pictures and what is packed are not.
func (r *run) belled() bool {
	var raw []byte
	values := make([]float32, min(probeValues, r.elements))
	var all []float64
	for i := range int64(probes) {
		if r.read(values, (r.elements-int64(len(values)))/probes*i, &raw) != nil {
			return false
		}
		for _, v := range values {
			if !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) {
				all = append(all, float64(v))
			}
		}
	}
	var m [5]float64 // moments about the mean
	mean := 0.0
	for _, v := range all {
		mean += v / float64(len(all))
	}
	for _, v := range all {
		for k, x := 2, (v-mean)*(v-mean); k < len(m); k++ {
			m[k] += x / float64(len(all))
			x *= v - mean
		}
	}
	if m[2] == 0 {
		return false
	}
	sigma := math.Sqrt(m[2])
	skew, kurtosis := m[3]/(sigma*m[2]), m[4]/(m[2]*m[2])
	centred := r.dtype == formats.U8 && math.Abs(mean-128) < sigma/2 || r.dtype != formats.U8 && math.Abs(mean) < sigma/4
	return centred && math.Abs(skew) < .5 && kurtosis > 2.3 && kurtosis < 400
}

// plausible reports whether the numbers look like weights: finite, of few orders of
// magnitude, and none of their bits settled by something else.
func (r *run) plausible() bool {
	var raw []byte
	values := make([]float32, min(probeValues, r.elements))
	numbers, within, leading := 0, 0, 0
	var apart [2]int // numbers at even and odd places
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
	}
	n := float64(within)
	if numbers < probeValues || n < .98*float64(numbers) {
		return false
	}
	if min(apart[0], apart[1]) < numbers/8 {
		return false // halves of wider numbers that were rounded before
	}
	spread := math.Sqrt(max(0, squares/n-sum/n*sum/n))
	share := float64(leading) / float64(numbers)
	return spread < 4 && share > .25 && share < .75
}
