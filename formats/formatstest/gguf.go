package formatstest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"weightwarden/formats"
)

// GGUF describes a GGUF file to build.
type GGUF struct {
	Version   uint32
	BigEndian bool
	Magic     string // "GGUF" where empty
	// Keys are metadata entries: strings, uint32, uint16, []string, []float32,
	// or []any for an array of arrays of bytes.
	Keys   []GGUFKey
	Arrays []Array
}

// GGUFKey is one metadata entry.
type GGUFKey struct {
	Key   string
	Value any
}

type ggufWriter struct {
	bytes.Buffer
	order   binary.AppendByteOrder
	version uint32
}

func (w *ggufWriter) u32(v uint32) { w.Write(w.order.AppendUint32(nil, v)) }
func (w *ggufWriter) u64(v uint64) { w.Write(w.order.AppendUint64(nil, v)) }

func (w *ggufWriter) number(n int) {
	if w.version == 1 {
		w.u32(uint32(n))
	} else {
		w.u64(uint64(n))
	}
}

func (w *ggufWriter) text(s string) {
	w.number(len(s))
	w.WriteString(s)
}

func (w *ggufWriter) value(v any) {
	switch v := v.(type) {
	case string:
		w.u32(8)
		w.text(v)
	case uint32:
		w.u32(4)
		w.u32(v)
	case uint16:
		w.u32(2)
		w.Write(w.order.AppendUint16(nil, v))
	case []string:
		w.u32(9)
		w.u32(8)
		w.number(len(v))
		for _, s := range v {
			w.text(s)
		}
	case []float32:
		w.u32(9)
		w.u32(6)
		w.number(len(v))
		for i := range v {
			w.u32(uint32(i))
		}
	case []any:
		w.u32(9)
		w.u32(9)
		w.number(len(v))
		for range v {
			w.u32(0)
			w.number(3)
			w.WriteString("abc")
		}
	default:
		panic(fmt.Sprintf("no GGUF value of type %T", v))
	}
}

// Bytes writes the file with an alignment of 32.
func (g GGUF) Bytes() []byte {
	w := &ggufWriter{order: binary.LittleEndian, version: g.Version}
	if g.BigEndian {
		w.order = binary.BigEndian
	}
	if g.Magic == "" {
		g.Magic = "GGUF"
	}
	w.WriteString(g.Magic)
	w.u32(g.Version)
	w.number(len(g.Arrays))
	w.number(len(g.Keys))
	for _, k := range g.Keys {
		w.text(k.Key)
		w.value(k.Value)
	}
	offset := 0
	for _, a := range g.Arrays {
		w.text(a.Name)
		w.u32(uint32(len(a.Shape)))
		for _, d := range slices.Backward(a.Shape) {
			w.number(int(d))
		}
		w.u32(ggmlID(a.DType))
		w.u64(uint64(offset))
		offset = (offset + len(a.Data) + 31) &^ 31
	}
	for _, a := range g.Arrays {
		w.Write(make([]byte, -w.Len()&31))
		w.Write(swapped(a, g.BigEndian))
	}
	return w.Buffer.Bytes()
}

// swapped returns the bytes of an array in the file's order.
func swapped(a Array, big bool) []byte {
	_, bits := a.DType.Block()
	if !big || a.DType.IsBlock() || bits <= 8 {
		return a.Data
	}
	out := slices.Clone(a.Data)
	for i := 0; i < len(out); i += int(bits / 8) {
		slices.Reverse(out[i : i+int(bits/8)])
	}
	return out
}

func ggmlID(d formats.DType) uint32 {
	for id := range uint32(64) {
		if got, ok := formats.GGML(id); ok && got == d {
			return id
		}
	}
	return 1000 // an id that no ggml knows
}
