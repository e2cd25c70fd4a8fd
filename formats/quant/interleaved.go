package quant

import (
	"weightwarden/formats"
)

// interleaved reads the types in which ggml wove four or eight rows into one
// another for the processor's sake (Q4_0_4_4, IQ4_NL_8_8 ...; ggml-cpu/repack.cpp
// of llama.cpp). A group of blocks, one of each row, has all scales first and
// then runs of four or eight bytes of each row in turn. The nibbles of Q4_0 are
// stored with their top bit inverted.
type interleaved struct {
	src    formats.Source
	offset int64
	cols   int64
	group  int64 // rows woven together
	run    int64 // bytes of one row in turn
	flip   byte
	level  *[16]float32
	buf    []byte
}

// weave describes the interleaved types; false for all others.
func weave(d formats.DType) (interleaved, bool) {
	switch d {
	case formats.Q4_0_44:
		return interleaved{group: 4, run: 4, flip: 0x88, level: &offset8}, true
	case formats.Q4_0_48:
		return interleaved{group: 4, run: 8, flip: 0x88, level: &offset8}, true
	case formats.Q4_0_88:
		return interleaved{group: 8, run: 8, flip: 0x88, level: &offset8}, true
	case formats.IQ4_44:
		return interleaved{group: 4, run: 4, level: &levelsIQ4}, true
	case formats.IQ4_48:
		return interleaved{group: 4, run: 8, level: &levelsIQ4}, true
	case formats.IQ4_88:
		return interleaved{group: 8, run: 8, level: &levelsIQ4}, true
	}
	return interleaved{}, false
}

// openInterleaved reads rows of cols numbers; rows is a multiple of the group.
func openInterleaved(t *formats.Tensor, rows, cols int64) rowSource {
	w, _ := weave(t.DType)
	w.src, w.offset, w.cols = t.Data.Source, t.Data.Offset, cols
	return newTiled(&w, rows, cols)
}

func (v *interleaved) fill(dst []float32, row, n, col, w int64) error {
	const block = 18
	groupBytes := v.group * block
	if need := w / 32 * groupBytes; int64(len(v.buf)) < need {
		v.buf = make([]byte, need)
	}
	for top := int64(0); top < n; top += v.group {
		buf := v.buf[:w/32*groupBytes]
		at := v.offset + ((row+top)/v.group*(v.cols/32)+col/32)*groupBytes
		if err := formats.ReadFull(v.src, buf, at); err != nil {
			return err
		}
		for c := int64(0); c < w; c += 32 {
			for r := range v.group {
				v.unweave((*[32]float32)(dst[(top+r)*w+c:]), buf[c/32*groupBytes:][:groupBytes], r)
			}
		}
	}
	return nil
}

// unweave writes the block of one row of a group.
func (v *interleaved) unweave(y *[32]float32, group []byte, r int64) {
	d := halfAt(group[2*r:])
	for j := range int64(16) {
		b := group[2*v.group+(j/v.run*v.group+r)*v.run+j%v.run] ^ v.flip
		y[j], y[j+16] = d*v.level[b&15], d*v.level[b>>4]
	}
}
