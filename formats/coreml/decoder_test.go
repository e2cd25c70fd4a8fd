package coreml

import (
	"encoding/binary"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/formatstest"
)

func arrays() []formatstest.Array {
	return []formatstest.Array{formatstest.Counting("blob 0", formats.F16, 1, 70), formatstest.Counting("blob 1", formats.F32, 5, 3),
		{Name: "blob 2", DType: formats.U4, Shape: []int64{5}, Data: []byte{1, 2, 3}}}
}

func weights() []byte {
	out := make([]byte, 64)
	binary.LittleEndian.PutUint32(out, 3)
	binary.LittleEndian.PutUint32(out[4:], 2)
	for i, a := range arrays() {
		out = append(out, make([]byte, -len(out)&63)...)
		rec := make([]byte, 64)
		binary.LittleEndian.PutUint32(rec, sentinel)
		binary.LittleEndian.PutUint32(rec[4:], []uint32{1, 2, 11}[i])
		binary.LittleEndian.PutUint64(rec[8:], uint64(len(a.Data)))
		binary.LittleEndian.PutUint64(rec[16:], uint64(len(out)+64))
		if i == 2 {
			binary.LittleEndian.PutUint64(rec[24:], 4)
		}
		out = append(append(out, rec...), a.Data...)
	}
	return out
}

func corpus() []formatstest.Case {
	return []formatstest.Case{{Name: "weights", Data: weights(), Tensors: 3}}
}

func TestConformance(t *testing.T) { formatstest.Run(t, Decoder{}, corpus()) }

func FuzzDecoder(f *testing.F) { formatstest.Fuzz(f, Decoder{}, corpus()) }

func TestWeights(t *testing.T) {
	m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(weights()), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	formatstest.Same(t, m, arrays())
	if len(m.Findings) != 0 {
		t.Errorf("findings %v", m.Findings)
	}
}
