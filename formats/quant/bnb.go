package quant

import (
	"encoding/json"
	"fmt"
	"io"
	"math"

	"weightwarden/formats"
)

// bnb4 reads the 4-bit format of bitsandbytes: bytes of two codes, the high
// nibble first, over the flattened matrix; a table of 16 levels (NF4 or FP4); and
// the largest absolute value of every block. Nested, those values are bytes
// themselves, with a table of 256 levels, block maxima of their own and an offset.
type bnb4 struct {
	codes  *packed
	cols   int64
	block  int64
	absmax numbers
	scale  []float32
}

func (b *bnb4) runsOn() {}

func (b *bnb4) read(dst []float32, row, col int64) error {
	at := row*b.cols + col
	for len(dst) > 0 {
		// As many blocks at once as their scales fit the scratch memory.
		n := min(int64(len(dst)), b.block*int64(len(b.scale)-1))
		if err := b.codes.readAt(dst[:n], at); err != nil {
			return err
		}
		first := at / b.block
		scale := b.scale[:(at+n-1)/b.block-first+1]
		if err := b.absmax.readAt(scale, first); err != nil {
			return err
		}
		for i := int64(0); i < n; {
			end := min(n, i+b.block-(at+i)%b.block)
			most := scale[(at+i)/b.block-first]
			for ; i < end; i++ {
				dst[i] *= most
			}
		}
		dst, at = dst[n:], at+n
	}
	return nil
}

// nestedMax are block maxima that are quantised themselves.
type nestedMax struct {
	codes  *packed
	block  int64
	absmax numbers
	offset float32
	one    [1]float32
}

func (n *nestedMax) readAt(dst []float32, at int64) error {
	if err := n.codes.readAt(dst, at); err != nil {
		return err
	}
	for len(dst) > 0 {
		if err := n.absmax.readAt(n.one[:], at/n.block); err != nil {
			return err
		}
		k := min(n.block-at%n.block, int64(len(dst)))
		for i := range dst[:k] {
			dst[i] = float32(dst[i]*n.one[0]) + n.offset
		}
		dst, at = dst[k:], at+k
	}
	return nil
}

// bnbState is what bitsandbytes writes as JSON into a tensor of bytes.
type bnbState struct {
	Shape           []int64 `json:"shape"`
	Blocksize       int64   `json:"blocksize"`
	NestedBlocksize int64   `json:"nested_blocksize"`
	NestedOffset    float64 `json:"nested_offset"`
}

// readBnbState reads the state, which is some 200 bytes long.
func readBnbState(t part) (bnbState, bool) {
	var s bnbState
	if t.DType != formats.U8 || len(t.Shape) != 1 || t.Shape[0] > 4096 || t.look().first != '{' {
		return s, false
	}
	r, err := t.Reader()
	if err != nil {
		return s, false
	}
	text, err := io.ReadAll(io.LimitReader(r, 4096))
	if err != nil || json.Unmarshal(text, &s) != nil {
		return s, false
	}
	n, ok := formats.Elements(s.Shape)
	return s, ok && n > 0 && len(s.Shape) > 0 && s.Blocksize > 0 && s.Blocksize <= 1<<20
}

// findBnb4 recognises bytes with a state tensor beside them whose shape they fill.
func findBnb4(f *finder, main int) (View, bool) {
	t := &f.tensors[main]
	if t.DType != formats.U8 || t.Data.Strides != nil || len(t.Shape) == 0 || !readable(t) {
		return View{}, false
	}
	var state bnbState
	ji := f.companion(main, func(s part) bool {
		st, ok := readBnbState(s)
		n, _ := formats.Elements(st.Shape)
		return ok && (n+1)/2 == t.Elements()
	})
	if ji < 0 {
		return View{}, false
	}
	state, _ = readBnbState(part{&f.tensors[ji], &f.facts[ji]})
	n, _ := formats.Elements(state.Shape)
	blocks := (n + state.Blocksize - 1) / state.Blocksize
	vector := func(length int64, types ...formats.DType) int {
		return f.companion(main, func(s part) bool { return hasShape(s.Tensor, length) && isOneOf(s.DType, types) })
	}
	b := bnbParts{f: f, main: main, state: state, levels: vector(16, formats.F32)}
	if b.absmax = vector(blocks, formats.F32); b.absmax < 0 && state.NestedBlocksize > 0 {
		b.absmax = vector(blocks, formats.U8)
		b.nestedLevels = vector(256, formats.F32)
		b.nestedMax = vector((blocks+state.NestedBlocksize-1)/state.NestedBlocksize, formats.F32)
		b.nested = true
	}
	if b.levels < 0 || b.absmax < 0 || b.nested && (b.nestedLevels < 0 || b.nestedMax < 0) {
		return View{}, false
	}
	if !b.nested {
		b.nestedLevels, b.nestedMax = -1, -1
	}
	shape := state.Shape
	if rows, cols, ok := Matrix(shape); ok && len(shape) != 2 {
		shape = []int64{rows, cols}
	}
	return f.view(BnB4, shape, b.open, main, b.absmax, b.levels, b.nestedMax, b.nestedLevels, ji)
}

// bnbParts are the tensors of a 4-bit matrix.
type bnbParts struct {
	f                                             *finder
	state                                         bnbState
	main, levels, absmax, nestedLevels, nestedMax int
	nested                                        bool
}

func (b *bnbParts) open() (rowSource, error) {
	levels := sample(&b.f.tensors[b.levels], 16)
	if len(levels) != 16 {
		return nil, fmt.Errorf("%w: levels of a 4-bit matrix", formats.ErrTruncated)
	}
	table := [16]float32(levels)
	codes, err := openCodes(&b.f.tensors[b.main], 4, func(dst []float32, src []byte) { decodeHighFirst(dst, src, &table) })
	if err != nil {
		return nil, err
	}
	_, cols, _ := Matrix(b.state.Shape)
	if len(b.state.Shape) == 2 {
		cols = b.state.Shape[1]
	}
	r := &bnb4{codes: codes, cols: cols, block: b.state.Blocksize, scale: make([]float32, 1024)}
	if !b.nested {
		r.absmax, err = openPacked(&b.f.tensors[b.absmax])
		return r, err
	}
	r.absmax, err = b.openNested()
	return r, err
}

func (b *bnbParts) openNested() (numbers, error) {
	levels := sample(&b.f.tensors[b.nestedLevels], 256)
	if len(levels) != 256 || math.IsNaN(b.state.NestedOffset) {
		return nil, fmt.Errorf("%w: levels of nested scales", formats.ErrTruncated)
	}
	table := [256]float32(levels)
	codes, err := openCodes(&b.f.tensors[b.absmax], 8, func(dst []float32, src []byte) { decodeTable8(dst, src, &table) })
	if err != nil {
		return nil, err
	}
	most, err := openPacked(&b.f.tensors[b.nestedMax])
	if err != nil {
		return nil, err
	}
	return &nestedMax{codes: codes, block: b.state.NestedBlocksize, absmax: most, offset: float32(b.state.NestedOffset)}, nil
}
