// Package coreml reads Core ML models: the protobuf of a program or a neural
// network, with the weights in it and beside it, and by itself the weight.bin of an
// .mlpackage or of a compiled .mlmodelc: blobs of numbers, each behind a record of
// its own. Sources: Model.proto, MIL.proto and NeuralNetwork.proto, and
// MILBlob/Blob/StorageFormat.hpp, of apple/coremltools.
package coreml

import (
	"context"
	"encoding/binary"
	"fmt"

	"weightwarden/formats"
	"weightwarden/formats/internal/paged"
)

// ID is the format's name.
const ID formats.ID = "coreml"

const (
	sentinel   = 0xdeadbeef
	recordSize = 64
)

// Decoder reads one weight.bin. Names and shapes are in the model's protobuf and not
// here: blobs are numbered, and have one axis.
type Decoder struct{}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return ID }

// Sniff implements formats.Decoder: version 2 and the first blob's sentinel.
func (Decoder) Sniff(head []byte) bool {
	return len(head) >= recordSize+4 && binary.LittleEndian.Uint32(head[4:]) == 2 &&
		binary.LittleEndian.Uint32(head[recordSize:]) == sentinel
}

// types is indexed by BlobDataType.
var types = [...]formats.DType{1: formats.F16, 2: formats.F32, 3: formats.U8, 4: formats.I8, 5: formats.BF16, 6: formats.I16,
	7: formats.U16, 8: formats.I4, 9: formats.U1, 10: formats.U2, 11: formats.U4, 12: formats.U3, 13: formats.U6,
	14: formats.I32, 15: formats.U32, 16: formats.F8E4M3, 17: formats.F8E5M2}

// Decode implements formats.Decoder.
func (Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	r := paged.New(src, limits.HeaderBytes)
	head, err := r.Bytes(0, 8)
	if err != nil || binary.LittleEndian.Uint32(head[4:]) != 2 {
		return nil, formats.Errorf(ID, "header", 0, formats.ErrNotRecognized, "no version 2")
	}
	count := binary.LittleEndian.Uint32(head)
	m := &formats.Model{Format: ID, Variant: "weights"}
	find := func(code string, s formats.Severity, at int64, text string, args ...any) {
		m.AddFinding(limits.Findings, formats.Finding{Code: "coreml." + code, Severity: s, Text: fmt.Sprintf(text, args...), Offset: at})
	}
	at := int64(recordSize)
	for i := range count {
		if err := ctx.Err(); err != nil {
			return nil, formats.Errorf(ID, "blob", at, err, "stopped")
		}
		t, err := blob(r, src, at)
		if err == nil && len(m.Tensors) >= limits.Tensors {
			err = fmt.Errorf("%w: over %d blobs", formats.ErrLimit, limits.Tensors)
		}
		if err != nil {
			if i == 0 {
				return nil, &formats.Error{Format: ID, Field: "blob", Offset: at, Err: err}
			}
			find("blob", formats.Unread, at, "blob %d of %d and those behind it were not read: %v", i, count, err)
			break
		}
		t.Name = formats.Cut(fmt.Sprintf("blob %d", i), limits.NameBytes)
		if t.Data.Offset != at+recordSize {
			find("offset", formats.Warning, at, "blob %d does not follow its record", i)
		}
		end := t.Data.Offset + t.Data.Length
		if t.Clip() {
			find("truncated", formats.Unread, at, "blob %d reaches behind the end of the file", i)
		}
		m.Tensors = append(m.Tensors, t)
		if at = max(at+recordSize, (end+recordSize-1)&^(recordSize-1)); at > src.Size() && i+1 < count {
			find("truncated", formats.Unread, at, "%d blobs of %d lie behind the end of the file", count-i-1, count)
			break
		}
	}
	return m, nil
}

// blob reads the record at at.
func blob(r *paged.Reader, src formats.Source, at int64) (formats.Tensor, error) {
	b, err := r.Bytes(at, recordSize)
	if err != nil {
		return formats.Tensor{}, err
	}
	if binary.LittleEndian.Uint32(b) != sentinel {
		return formats.Tensor{}, fmt.Errorf("%w: no record of a blob", formats.ErrMalformed)
	}
	typ, size := binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint64(b[8:])
	offset, padding := binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])
	if size > 1<<60 || offset > 1<<60 {
		return formats.Tensor{}, fmt.Errorf("%w: a blob at %d+%d", formats.ErrTruncated, offset, size)
	}
	t := formats.Tensor{Shape: []int64{int64(size)}, Data: formats.Extent{Source: src, Offset: int64(offset), Length: int64(size)}}
	if typ < uint32(len(types)) && types[typ] != formats.Unknown {
		_, bits := types[typ].Block()
		if total := int64(size)*8 - int64(min(padding, 8)); bits < 8 || padding == 0 {
			n := total / bits
			if need, ok := types[typ].StoredBytes(n); ok && n >= 0 && need == int64(size) {
				t.DType, t.Shape = types[typ], []int64{n}
			}
		}
	}
	return t, nil
}
