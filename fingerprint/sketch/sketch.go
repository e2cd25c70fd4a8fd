// Package sketch computes layers R and T of the fingerprint: keyed linear
// sketches of the rows of a matrix, as sign bits (R) and summed up as numbers (T).
//
// For a row w of n elements with mean m and standard deviation s,
//
//	y[b] = sum over j with j mod B = b of sign(j) * clamp(w[j]-m, -3s, 3s)
//
// for b = 0..B-1, where B is 256, or 64 for rows of 64 to 255 elements. Bit b of
// the row sketch is y[b] > 0; two rows at an angle t differ in t/pi of their bits.
// docs/fingerprint-spec.md has the measurements.
package sketch

import "slices"

// Rows sampled per tensor.
const (
	AlignedRows = 64 // rows with the smallest keyed hash of their index
	ContentRows = 20 // rows of the largest norm
)

// Bits is the sketch of one row: 256 sign bits, or 64 in the first word.
type Bits [4]uint64

// Row is a sampled row.
type Row struct {
	Index int64   // row number in the tensor
	Norm  float32 // Euclidean norm after the mean was taken out
	Bits  Bits
}

// Tensor is the sketch of one matrix.
type Tensor struct {
	Buckets    int       // B: 256 or 64
	Length     int64     // elements of a sketched row
	Count      int64     // rows there were
	Transposed bool      // rows were too short: the matrix was sketched along its other axis
	Aligned    []Row     // by rank of the keyed hash, at most AlignedRows
	Content    []Row     // by falling norm, at most ContentRows
	Columns    []Row     // aligned sample of the other axis; suspects only, never encoded
	Segments   []Segment // rows read again with a candidate in mind; never encoded
	Have       int64     // rows that the file has, where it ends amid the matrix; 0: all; never encoded
	Places     int64     // of how many places in the file this one was chosen; 0 where the file says it; never encoded
	Groups     int       // of Sum: 4, 2, or 1
	Sum        []float32 // layer T: Groups x Buckets
}

// Segment is the sample of a registered tensor looked up inside a larger or
// smaller suspect: its row i is row i+Offset of the suspect.
type Segment struct {
	Registered int   // tensor of the registered model that was looked for
	Offset     int64 // negative where the suspect is a part from the middle
	Rows       []Row // Index counts as in the registered tensor
}

// Fold halves the groups of the sum: group g takes in group g + Groups/2. Sums of
// large models are folded to keep fingerprints small; since rows were assigned by
// their low bits, a folded sum is what half as many groups would have given.
func (t *Tensor) Fold() {
	if t.Groups < 2 || len(t.Sum) != t.Groups*t.Buckets {
		return
	}
	t.Groups /= 2
	sum := make([]float32, t.Groups*t.Buckets) // of its own: the old one's other half is to be given back
	for i := range sum {
		sum[i] = t.Sum[i] + t.Sum[len(sum)+i]
	}
	t.Sum = sum
}

// Opposite returns the sketch, without the largest rows and the sum, that the same weights of the other sign have.
func (t *Tensor) Opposite() *Tensor {
	out := *t
	out.Content, out.Sum = nil, nil
	out.Aligned, out.Columns = oppositeRows(t.Aligned, t.Buckets), oppositeRows(t.Columns, buckets(t.Count))
	out.Segments = slices.Clone(t.Segments)
	for i := range out.Segments {
		out.Segments[i].Rows = oppositeRows(t.Segments[i].Rows, t.Buckets)
	}
	return &out
}

func oppositeRows(rows []Row, buckets int) []Row {
	out := slices.Clone(rows)
	for i := range out {
		for w := range buckets / 64 {
			out[i].Bits[w] = ^out[i].Bits[w]
		}
	}
	return out
}
