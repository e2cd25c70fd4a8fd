package onnx

import (
	"fmt"
	"slices"

	"weightwarden/formats"
	"weightwarden/formats/internal/protobuf"
)

// maxScan bounds the bytes of numbers of variable length that are counted in one
// file. Their count is not in the file, so that they have to be looked at.
const maxScan = 512 << 20

// typed places a tensor whose data are numbers in a field of their own.
func (p *parser) typed(out *formats.Tensor, dt dataType, size int64, fits bool) {
	t := &p.t
	opaque := func(why string) {
		largest := slices.MaxFunc(t.pieces, func(a, b protobuf.Piece) int { return int(min(max(a.Length-b.Length, -1), 1)) })
		p.find("typed", formats.Unread, t.at, "tensor %.200q: %s; its %d bytes are taken as they are", t.name, why, largest.Length)
		out.DType, out.Shape = formats.Unknown, []int64{largest.Length}
		out.Data = formats.Extent{Source: p.src, Offset: largest.Offset, Length: largest.Length}
	}
	switch {
	case t.mixed:
		opaque("the data comes in several fields or too many pieces")
		return
	case !fits || t.field != dt.field:
		opaque(fmt.Sprintf("field %d does not suit data type %d", t.field, t.dtype))
		return
	}
	varint := t.field != floatData && t.field != doubleData
	width := dt.bytes
	if !varint {
		if first := t.pieces[0]; len(t.pieces) == 1 && (first.Tag == 0 || first.Length == dt.bytes) {
			out.Data = formats.Extent{Source: p.src, Offset: first.Offset, Length: first.Length}
			return
		}
		if width = 4; t.field == doubleData {
			width = 8
		}
	} else if p.scanLeft -= protobuf.Length(t.pieces); p.scanLeft < 0 {
		opaque(fmt.Sprintf("over %d bytes of numbers of variable length", int64(maxScan)))
		return
	}
	r, err := protobuf.NewNumbers(p.ctx.Err, p.src, slices.Clone(t.pieces), width, varint)
	if err != nil {
		opaque(err.Error())
		return
	}
	out.Data = formats.Extent{Source: r, Length: r.Size()}
}
