package fingerprint

import (
	"context"
	"fmt"

	"weightwarden/fingerprint/sketch"
)

// reading is one way to read numbers of a file as a matrix.
type reading struct {
	run    run
	first  int64 // element of the run that the matrix begins with; below 0 where the run begins amid it
	places int64 // how many the place was chosen from
	Shape
}

// read decodes row i.
func (as *reading) read(row []float32, i int64, raw *[]byte) error {
	return as.run.read(row, as.first+i*as.Cols, raw)
}

// Added is what a second look at a file added to its fingerprint: tensors in other
// shapes, number formats and places than the file gives.
type Added struct {
	suspect  *Fingerprint
	own      int // tensors of the suspect before
	readings []reading
	maker    *sketch.Maker
	opt      Options
	raw      []byte
	floats   []float32
}

func newAdded(suspect *Fingerprint, opt Options) *Added {
	key := opt.Key
	if key == nil {
		key = PublicKey()
	}
	return &Added{suspect: suspect, own: len(suspect.Tensors), maker: sketch.NewMaker(key.derive("sketch")), opt: opt}
}

// Len returns how many tensors were added.
func (r *Added) Len() int { return len(r.readings) }

func (r *Added) add(as reading, k *sketch.Tensor) {
	k.Places = as.places
	r.suspect.Tensors = append(r.suspect.Tensors, Tensor{Name: as.label(), Member: as.run.member, DType: as.run.dtype, Packing: as.run.packing(),
		Shape: []int64{as.Rows, as.Cols}, Rows: as.Rows, Cols: as.Cols, Parameters: as.Rows * as.Cols, Sketch: k})
	r.readings = append(r.readings, as)
}

// Keep leaves only those that matches name, read in whole so that layer T is there,
// and returns how many these are.
func (r *Added) Keep(ctx context.Context, matches []Match) (int, error) {
	wanted := make(map[int]bool)
	for i := range matches {
		for _, t := range matches[i].Tensors {
			if t.Suspect >= r.own {
				wanted[t.Suspect-r.own] = true
			}
		}
	}
	all := r.readings
	r.suspect.Tensors, r.readings = r.suspect.Tensors[:r.own], nil
	for i, as := range all {
		if !wanted[i] {
			continue
		}
		k, err := r.sketch(ctx, as, true)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err == nil {
			r.add(as, k)
		}
	}
	return len(r.readings), nil
}

// sketch reads numbers as somebody else might: the sampled rows, or in whole also
// those of layer T. Of a matrix that is there in part it reads the sampled rows that
// are there.
func (r *Added) sketch(ctx context.Context, as reading, whole bool) (*sketch.Tensor, error) {
	b, ok := r.maker.NewBuilder(as.Rows, as.Cols, false)
	if !ok {
		return nil, fmt.Errorf("no matrix of %d x %d", as.Rows, as.Cols)
	}
	row := make([]float32, as.Cols)
	part := as.first < 0 || as.Rows*as.Cols > as.run.elements-as.first
	read := func(i int64) error {
		if at := as.first + i*as.Cols; part && (at < 0 || at > as.run.elements-as.Cols) {
			return nil
		}
		if err := as.read(row, i, &r.raw); err != nil {
			return err
		}
		if r.opt.Progress != nil {
			r.opt.Progress(int64(len(r.raw)))
		}
		b.Row(i, row)
		return ctx.Err()
	}
	if whole = whole && !part; whole {
		for i := range as.Rows {
			if b.Needs(i) {
				if err := read(i); err != nil {
					return nil, err
				}
			}
		}
	} else {
		for _, i := range b.Wanted(sketch.AlignedRows) {
			if err := read(i); err != nil {
				return nil, err
			}
		}
	}
	k, _ := b.Finish()
	if !whole {
		k.Sum = nil // of the sample only
	}
	if part {
		k.Have = (min(as.run.elements, as.first+as.Rows*as.Cols) - max(0, as.first)) / as.Cols
	}
	return k, nil
}
