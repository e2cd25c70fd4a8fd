package formatstest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"testing"

	"weightwarden/formats"
)

// Array is a tensor that a builder writes, or that a decoder should find: Data
// is what its Reader gives.
type Array struct {
	Name  string
	DType formats.DType
	Shape []int64
	Data  []byte
}

// Counting returns an array of type d and the given shape with bytes that count
// up from seed, and panics where the shape does not fill whole bytes.
func Counting(name string, d formats.DType, seed byte, shape ...int64) Array {
	n, ok := formats.Elements(shape)
	size, ok2 := d.Bytes(n)
	if !ok || !ok2 {
		panic(fmt.Sprintf("shape %v does not fit %s", shape, d))
	}
	a := Array{Name: name, DType: d, Shape: shape, Data: make([]byte, size)}
	for i := range a.Data {
		a.Data[i] = seed + byte(i)
	}
	return a
}

// Same reports where the tensors of a model differ from want, in any order.
func Same(tb testing.TB, m *formats.Model, want []Array) {
	tb.Helper()
	if len(m.Tensors) != len(want) {
		tb.Errorf("%d tensors, want %d", len(m.Tensors), len(want))
	}
	for _, w := range want {
		i := slices.IndexFunc(m.Tensors, func(t formats.Tensor) bool { return t.Name == w.Name })
		if i < 0 {
			tb.Errorf("tensor %q is missing", w.Name)
			continue
		}
		t := &m.Tensors[i]
		if t.DType != w.DType || !slices.Equal(t.Shape, w.Shape) {
			tb.Errorf("tensor %q is %s %v, want %s %v", w.Name, t.DType, t.Shape, w.DType, w.Shape)
		}
		r, err := t.Reader()
		if err != nil {
			tb.Errorf("tensor %q: %v", w.Name, err)
			continue
		}
		if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, w.Data) {
			tb.Errorf("tensor %q: %d bytes %.32x, want %d bytes %.32x (error %v)", w.Name, len(b), b, len(w.Data), w.Data, err)
		}
	}
}

// Safetensors writes arrays in their order, with the dtypes' names as they are
// spelled in output, which are those of the format.
func Safetensors(arrays ...Array) []byte {
	var header, data bytes.Buffer
	header.WriteString(`{"__metadata__":{"format":"pt"}`)
	for _, a := range arrays {
		name, _ := json.Marshal(a.Name)
		shape, _ := json.Marshal(append([]int64{}, a.Shape...))
		fmt.Fprintf(&header, `,%s:{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`,
			name, a.DType, shape, data.Len(), data.Len()+len(a.Data))
		data.Write(a.Data)
	}
	header.WriteByte('}')
	return SafetensorsRaw(header.String(), data.Bytes())
}

// SafetensorsRaw frames a header and data, whatever they are.
func SafetensorsRaw(header string, data []byte) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), data...)
}
