// Package fingerprinttest makes models in memory for tests of matching: random
// weights with the traits of trained ones, and changed copies of them.
package fingerprinttest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"weightwarden/formats"
)

// Matrix is a named matrix of weights, row-major.
type Matrix struct {
	Name       string
	Rows, Cols int
	Data       []float32
	DType      formats.DType // Unknown: that of the file
}

// Net returns the matrices of a transformer with the given number of layers and
// width: Gaussian rows of varying size, some columns much larger than others.
// Different seeds are independent models of one architecture.
func Net(seed uint64, layers, width int) []Matrix {
	rng := rand.New(rand.NewPCG(seed, 1))
	var out []Matrix
	add := func(name string, rows, cols int) {
		m := Matrix{Name: name, Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
		column := make([]float64, cols)
		for j := range column {
			column[j] = math.Exp(rng.NormFloat64() * 0.3)
			if rng.IntN(100) == 0 {
				column[j] *= 5
			}
		}
		for i := range rows {
			size := 0.02 * math.Exp(rng.NormFloat64()*0.2)
			for j := range cols {
				m.Data[i*cols+j] = float32(rng.NormFloat64() * size * column[j])
			}
		}
		out = append(out, m)
	}
	for l := range layers {
		for _, n := range []string{"q", "k", "v", "o"} {
			add(fmt.Sprintf("layers.%d.attn.%s.weight", l, n), width, width)
		}
		add(fmt.Sprintf("layers.%d.mlp.gate.weight", l), 2*width, width)
		add(fmt.Sprintf("layers.%d.mlp.up.weight", l), 2*width, width)
		add(fmt.Sprintf("layers.%d.mlp.down.weight", l), width, 2*width)
	}
	return out
}

// Map returns a copy of the matrices with every weight changed by f.
func Map(ms []Matrix, f func(v float32) float32) []Matrix {
	out := make([]Matrix, len(ms))
	for i, m := range ms {
		out[i] = m
		out[i].Data = make([]float32, len(m.Data))
		for k, v := range m.Data {
			out[i].Data[k] = f(v)
		}
	}
	return out
}

// Noise returns a copy moved by share of every matrix's norm in a random
// direction: a fine-tuned child.
func Noise(ms []Matrix, seed uint64, share float64) []Matrix {
	rng := rand.New(rand.NewPCG(seed, 2))
	out := make([]Matrix, len(ms))
	for i, m := range ms {
		sum := 0.0
		for _, v := range m.Data {
			sum += float64(v) * float64(v)
		}
		rms := math.Sqrt(sum / float64(len(m.Data)))
		out[i] = m
		out[i].Data = make([]float32, len(m.Data))
		for k, v := range m.Data {
			out[i].Data[k] = v + float32(rng.NormFloat64()*rms*share)
		}
	}
	return out
}

// Mix returns a*x + b*y.
func Mix(x, y []Matrix, a, b float32) []Matrix {
	out := make([]Matrix, len(x))
	for i := range x {
		out[i] = x[i]
		out[i].Data = make([]float32, len(x[i].Data))
		for k := range x[i].Data {
			out[i].Data[k] = a*x[i].Data[k] + b*y[i].Data[k]
		}
	}
	return out
}

// Transpose returns the transposed matrices.
func Transpose(ms []Matrix) []Matrix {
	out := make([]Matrix, len(ms))
	for i, m := range ms {
		t := Matrix{Name: m.Name, Rows: m.Cols, Cols: m.Rows, Data: make([]float32, len(m.Data))}
		for r := range m.Rows {
			for c := range m.Cols {
				t.Data[c*m.Rows+r] = m.Data[r*m.Cols+c]
			}
		}
		out[i] = t
	}
	return out
}

// ShuffleRows returns a copy with the rows of every matrix in another order.
func ShuffleRows(ms []Matrix, seed uint64) []Matrix {
	rng := rand.New(rand.NewPCG(seed, 3))
	out := make([]Matrix, len(ms))
	for i, m := range ms {
		out[i] = m
		out[i].Data = make([]float32, 0, len(m.Data))
		for _, r := range rng.Perm(m.Rows) {
			out[i].Data = append(out[i].Data, m.Data[r*m.Cols:(r+1)*m.Cols]...)
		}
	}
	return out
}

// File lays the matrices out as a file: a header of the given text, then the
// tensors in the given number format, if they have none of their own, each at a
// multiple of 8 bytes.
func File(header string, ms []Matrix, d formats.DType) (formats.Source, *formats.Model) {
	b := []byte(header)
	m := &formats.Model{Format: "test"}
	type place struct{ off, n int }
	var places []place
	for _, x := range ms {
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
		at := len(b)
		b = append(b, Encode(x.Data, x.Cols, x.dtype(d))...)
		places = append(places, place{at, len(b) - at})
	}
	src := &source{formats.BytesSource(b)}
	for i, x := range ms {
		m.Tensors = append(m.Tensors, formats.Tensor{Name: x.Name, DType: x.dtype(d), Shape: []int64{int64(x.Rows), int64(x.Cols)},
			Data: formats.Extent{Source: src, Offset: int64(places[i].off), Length: int64(places[i].n)}})
	}
	return src, m
}

func (m *Matrix) dtype(file formats.DType) formats.DType {
	if m.DType != formats.Unknown {
		return m.DType
	}
	return file
}

// source makes BytesSource comparable.
type source struct{ formats.BytesSource }

// Encode packs values: F32, BF16 (rounded), whole numbers as I64, I32, U8 or Bool, Q8_0 or Q4_0 (as ggml's reference
// quantisers define them). Other types are a mistake of the test.
func Encode(data []float32, cols int, d formats.DType) []byte {
	var out []byte
	switch d {
	case formats.F32:
		for _, v := range data {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
		}
	case formats.BF16:
		for _, v := range data {
			b := math.Float32bits(v)
			out = binary.LittleEndian.AppendUint16(out, uint16((b+0x7fff+b>>16&1)>>16))
		}
	case formats.I64:
		for _, v := range data {
			out = binary.LittleEndian.AppendUint64(out, uint64(int64(v)))
		}
	case formats.I32:
		for _, v := range data {
			out = binary.LittleEndian.AppendUint32(out, uint32(int32(v)))
		}
	case formats.U8, formats.Bool:
		for _, v := range data {
			out = append(out, byte(v))
		}
	case formats.Q8_0:
		for i := 0; i < len(data); i += 32 {
			out = appendQ8(out, data[i:i+32])
		}
	case formats.Q4_0:
		for i := 0; i < len(data); i += 32 {
			out = appendQ4(out, data[i:i+32])
		}
	default:
		panic("fingerprinttest: no encoder for " + d.String())
	}
	return out
}

func appendQ8(out []byte, block []float32) []byte {
	peak := float32(0)
	for _, v := range block {
		peak = max(peak, v, -v)
	}
	d := halfRound(peak / 127)
	out = binary.LittleEndian.AppendUint16(out, halfBits(d))
	for _, v := range block {
		q := 0.0
		if d != 0 {
			q = math.RoundToEven(float64(v / d))
		}
		out = append(out, byte(int8(max(-127, min(127, q)))))
	}
	return out
}

func appendQ4(out []byte, block []float32) []byte {
	peak := float32(0)
	for _, v := range block {
		if max(v, -v) > max(peak, -peak) {
			peak = v
		}
	}
	d := halfRound(peak / -8)
	out = binary.LittleEndian.AppendUint16(out, halfBits(d))
	code := func(v float32) byte {
		if d == 0 {
			return 8
		}
		return byte(max(0, min(15, int(v/d+8.5))))
	}
	for i := range 16 {
		out = append(out, code(block[i])|code(block[i+16])<<4)
	}
	return out
}

// halfBits rounds a normal number to binary16 by cutting; good enough for scales.
func halfBits(v float32) uint16 {
	b := math.Float32bits(v)
	e := int(b>>23&0xff) - 112
	if e <= 0 {
		// Subnormal: count in units of 2^-24.
		return uint16(b>>16&0x8000) | uint16(math.Abs(float64(v))*(1<<24))
	}
	return uint16(b>>16&0x8000) | uint16(e)<<10 | uint16(b>>13&0x3ff)
}

func halfRound(v float32) float32 {
	h := halfBits(v)
	e, m := int(h>>10&31), float64(h&0x3ff)
	x := math.Ldexp(m, -24)
	if e > 0 {
		x = math.Ldexp(1+m/1024, e-15)
	}
	if h&0x8000 != 0 {
		x = -x
	}
	return float32(x)
}

// Fuse joins matrices of one width below each other.
func Fuse(name string, ms ...Matrix) Matrix {
	out := Matrix{Name: name, Cols: ms[0].Cols}
	for _, m := range ms {
		out.Rows += m.Rows
		out.Data = append(out.Data, m.Data...)
	}
	return out
}

// RowsOf returns rows from..to-1 of a matrix.
func RowsOf(m Matrix, from, to int) Matrix {
	return Matrix{Name: m.Name, Rows: to - from, Cols: m.Cols, Data: m.Data[from*m.Cols : to*m.Cols]}
}
