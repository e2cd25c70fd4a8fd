// Package tensorrt recognises TensorRT plans. Their layout is not public and the
// weights in them are re-ordered for one GPU: the file is one run of opaque bytes,
// which an exact copy can still be known by, and a finding says that nobody read
// it. Source: the magics that lutzroeder/netron knows plans by.
package tensorrt

import (
	"context"

	"weightwarden/formats"
)

// ID is the format's name.
const ID formats.ID = "tensorrt"

// Decoder recognises one plan.
type Decoder struct{}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return ID }

// Sniff implements formats.Decoder.
func (Decoder) Sniff(head []byte) bool {
	return len(head) >= 24 && (string(head[:4]) == "ptrt" || string(head[:4]) == "ftrt")
}

// Decode implements formats.Decoder.
func (d Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	if err := ctx.Err(); err != nil {
		return nil, formats.Errorf(ID, "file", 0, err, "not started")
	}
	var head [24]byte
	if src.Size() < int64(len(head)) || formats.ReadFull(src, head[:], 0) != nil || !d.Sniff(head[:]) {
		return nil, formats.Errorf(ID, "magic", 0, formats.ErrNotRecognized, "no plan")
	}
	m := &formats.Model{Format: ID, Variant: "plan", Tensors: []formats.Tensor{{Name: formats.Cut("plan", limits.OrDefault().NameBytes),
		Shape: []int64{src.Size()}, Data: formats.Extent{Source: src, Length: src.Size()}}}}
	m.AddFinding(limits.OrDefault().Findings, formats.Finding{Code: "tensorrt.opaque", Severity: formats.Unread, Offset: -1,
		Text: "a TensorRT plan keeps its weights in an order of its own: only exact copies of it can be recognised"})
	return m, nil
}
