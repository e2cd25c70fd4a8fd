package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"

	"weightwarden/formats"
)

// shape is one tensor of a synthetic network.
type shape struct{ rows, cols int64 }

// block lists the matrices of one transformer block of a 7B-size network (hidden size 4096, feed-forward 11008).
func block() []shape {
	return []shape{{4096, 4096}, {4096, 4096}, {4096, 4096}, {4096, 4096}, {11008, 4096}, {11008, 4096}, {4096, 11008}}
}

// network lists matrices of whole blocks that come to about size bytes in a type, at least one matrix.
func network(d formats.DType, size int64) []shape {
	var out []shape
	for i := 0; ; i++ {
		s := block()[i%len(block())]
		n, _ := d.Bytes(s.rows * s.cols)
		if size -= n; size < 0 && i > 0 {
			return out
		}
		out = append(out, s)
	}
}

// model lists the tensors of a network that lie one after the other in src.
func model(src formats.Source, d formats.DType, shapes []shape) *formats.Model {
	m := &formats.Model{Format: "synthetic"}
	var at int64
	for i, s := range shapes {
		n, _ := d.Bytes(s.rows * s.cols)
		m.Tensors = append(m.Tensors, formats.Tensor{Name: fmt.Sprintf("layer.%d.weight", i), DType: d, Shape: []int64{s.rows, s.cols},
			Data: formats.Extent{Source: src, Offset: at, Length: n}})
		at += n
	}
	return m
}

// bytesOf returns what the weights of a network take.
func bytesOf(d formats.DType, shapes []shape) (total int64) {
	for _, s := range shapes {
		n, _ := d.Bytes(s.rows * s.cols)
		total += n
	}
	return total
}

// synthesise writes the weights of a network, normally distributed, to path.
func synthesise(path string, d formats.DType, shapes []shape) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	r := rand.New(rand.NewPCG(1, 2))
	pool := make([]byte, 8<<20)
	fill(pool, d, r)
	if err := pour(w, bytesOf(d, shapes), d, pool, r); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil { // else it would be written out beside what is measured
		return err
	}
	return f.Close()
}

// endless is a file of any size that takes no room: bf16 weights from a pool, from another place of it in every run of
// bytes.
type endless struct {
	size int64
	pool []byte
}

func newEndless(size int64) *endless {
	e := &endless{size: size, pool: make([]byte, 4<<20)}
	fill(e.pool, formats.BF16, rand.New(rand.NewPCG(3, 4)))
	return e
}

// vary changes the low bits of the lower byte of every weight in a part of a run.
func (e *endless) vary(part []byte, within int64, number uint64) {
	seed := number * 0x9e3779b97f4a7c15
	mask := (seed ^ seed>>29) & 0x007f007f007f007f
	i := 0
	for ; i < len(part) && (within+int64(i))%8 != 0; i++ {
		part[i] ^= byte(mask >> (8 * ((within + int64(i)) % 8)))
	}
	for ; i+8 <= len(part); i += 8 {
		binary.LittleEndian.PutUint64(part[i:], binary.LittleEndian.Uint64(part[i:])^mask)
	}
	for ; i < len(part); i++ {
		part[i] ^= byte(mask >> (8 * ((within + int64(i)) % 8)))
	}
}

// Size implements formats.Source.
func (e *endless) Size() int64 { return e.size }

// ReadAt implements formats.Source.
func (e *endless) ReadAt(p []byte, off int64) (int, error) {
	const run = 50_000 // bytes, a multiple of 8
	n := 0
	for n < len(p) && off < e.size {
		number, within := uint64(off)/run, off%run
		start := int64(number*0x9e3779b97f4a7c15>>32%uint64(len(e.pool)/2-run)) * 2 % int64(len(e.pool)-run)
		k := copy(p[n:], e.pool[start+within:start+min(run, within+e.size-off)])
		e.vary(p[n:n+k], within, number)
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// vary changes the low bits of weights, other ones for every seed, so that cuts fall anew. Whole units only.
func vary(part []byte, d formats.DType, seed uint64) {
	switch d {
	case formats.BF16:
		mask := seed & 0x007f007f007f007f
		for i := 0; i+8 <= len(part); i += 8 {
			binary.LittleEndian.PutUint64(part[i:], binary.LittleEndian.Uint64(part[i:])^mask)
		}
	case formats.Q4_K:
		for at := 0; at+144 <= len(part); at += 144 {
			for i := at + 16; i < at+144; i += 8 {
				binary.LittleEndian.PutUint64(part[i:], binary.LittleEndian.Uint64(part[i:])^seed)
			}
		}
	}
}

// pour writes n bytes of weights, taken from the pool from changing places on and varied so that no two chunks are alike.
func pour(w *bufio.Writer, n int64, d formats.DType, pool []byte, r *rand.Rand) error {
	_, bits := d.Block()
	unit := int(bits / 8)
	for n > 0 {
		from := r.IntN(len(pool)/unit/2) * unit
		part := pool[from:][:min(n, int64(r.IntN(60000)+5000)/int64(unit)*int64(unit))]
		if len(part) == 0 {
			part = pool[:n]
		}
		part = append([]byte(nil), part...)
		vary(part, d, r.Uint64())
		if _, err := w.Write(part); err != nil {
			return err
		}
		n -= int64(len(part))
	}
	return nil
}

// fill makes weights of standard deviation .02.
func fill(pool []byte, d formats.DType, r *rand.Rand) {
	switch d {
	case formats.BF16:
		for i := 0; i+2 <= len(pool); i += 2 {
			binary.LittleEndian.PutUint16(pool[i:], uint16(math.Float32bits(float32(r.NormFloat64()*0.02))>>16))
		}
	case formats.Q4_K:
		for i := range pool {
			pool[i] = byte(r.Uint32())
		}
		for i := 0; i+144 <= len(pool); i += 144 { // scale .0002, minimum .002 in binary16
			binary.LittleEndian.PutUint16(pool[i:], 0x0a8e)
			binary.LittleEndian.PutUint16(pool[i+2:], 0x1819)
		}
	}
}
