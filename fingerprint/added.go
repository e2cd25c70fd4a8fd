package fingerprint

import (
	"context"
	"fmt"

	"weightwarden/fingerprint/sketch"
	"weightwarden/formats/quant"
)

// reading is one way to read numbers of a file as a matrix.
type reading struct {
	run    run
	other  numbers // what is read instead of the run, whose name stays
	first  int64   // element of the run that the matrix begins with; below 0 where the run begins amid it
	places int64   // how many the place was chosen from
	of     []int   // tensors of the fingerprint that are read
	Shape
	columns bool // of a matrix that may be stored transposed
}

// numbers are the tensors of a file in another order than it has them.
type numbers interface {
	// read decodes len(dst) numbers from number at on.
	read(dst []float32, at int64, r *Added) error
	// spread reports whether they lie so far apart that few should be read.
	spread() bool
	packing() string
	// how says for people how they lie.
	how() string
}

// exhausted reports whether more was read than many looks at the whole file need: tensors
// that share their bytes may claim to be much more.
func (r *Added) exhausted() bool { return r.spent > 4*r.suspect.Size+mostHeld }

// read decodes row i.
func (r *Added) read(as *reading, row []float32, i int64) error {
	r.spent += int64(len(row))
	if as.other != nil {
		return as.other.read(row, i*as.Cols, r)
	}
	if err := as.run.read(row, as.first+i*as.Cols, &r.raw); err != nil {
		return err
	}
	r.count(int64(len(r.raw)))
	return nil
}

// count tells of bytes that were read.
func (r *Added) count(n int64) {
	if r.opt.Progress != nil {
		r.opt.Progress(n)
	}
}

// packing is the word for how the numbers are stored, as in quant.View.Scheme.
func (as *reading) packing() string {
	switch {
	case as.other != nil:
		return as.other.packing()
	case as.run.dtype.IsBlock():
		return quant.Block
	}
	return quant.Plain
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
	held     held
	spent    int64         // numbers that were read
	reader   *quant.Reader // of the view that was read last
	readerOf *quant.View
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
	moved := ""
	if as.other != nil {
		moved = as.other.how()
	}
	r.suspect.Tensors = append(r.suspect.Tensors, Tensor{Name: as.label(), Member: as.run.member, DType: as.run.dtype, Packing: as.packing(),
		Shape: []int64{as.Rows, as.Cols}, Rows: as.Rows, Cols: as.Cols, Parameters: as.Rows * as.Cols, Sketch: k, Of: as.of, Moved: moved})
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
	b, ok := r.maker.NewBuilder(as.Rows, as.Cols, as.columns, &sketch.Room{})
	if !ok {
		return nil, fmt.Errorf("no matrix of %d x %d", as.Rows, as.Cols)
	}
	row := make([]float32, as.Cols)
	part := as.first < 0 || as.Rows*as.Cols > as.run.elements-as.first
	read := func(i int64) error {
		if at := as.first + i*as.Cols; part && (at < 0 || at > as.run.elements-as.Cols) {
			return nil
		}
		if err := r.read(&as, row, i); err != nil {
			return err
		}
		b.Row(i, row)
		return ctx.Err()
	}
	if as.other != nil && as.other.spread() {
		whole = false
	} else if as.columns || !rowsFit(as.Rows, as.Cols) {
		whole = true // for its columns
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
