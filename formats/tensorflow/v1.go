package tensorflow

import (
	"weightwarden/formats"
	"weightwarden/formats/internal/cursor"
	"weightwarden/formats/internal/protobuf"
)

// The messages of saved_tensor_slice.proto, numbered behind those of graphs.
const (
	savedSlices protobuf.Kind = dimProto + 1 + iota
	slicesMeta
	sliceMeta
	savedSlice
	tensorSlice
	sliceExtent
)

// variable is a SavedSliceMeta: what a checkpoint of version 1 says of a variable.
type variable struct {
	name   string
	shape  []int64
	bad    bool
	dtype  uint64
	pieces []piece
}

// oldParser reads a checkpoint of version 1: a table with the shapes of all
// variables under its first key, and a TensorProto for each of their slices.
type oldParser struct {
	*graph
	byName map[string]*variable
	order  []*variable
	v      variable
	slice  []extent
	axis   extent
	name   string
}

func newOldParser(p *parser) *oldParser {
	return &oldParser{graph: newGraph(p.ctx, p.src, p.limits, p.model, p.limits.HeaderBytes), byName: map[string]*variable{}}
}

// isOld reports whether the first value of a table is that of version 1: a message
// where version 2 has a number.
func isOld(value place) bool {
	var tag [1]byte
	return value.length > 0 && formats.ReadFull(value.src, tag[:], value.offset) == nil && tag[0] == 1<<3|protobuf.Bytes
}

// entry takes one value of the table.
func (o *oldParser) entry(key string, value place) error {
	if err := o.walk.Stopped(); err != nil {
		return err
	}
	// Offsets in the message are those in the Source that has it.
	o.src = value.src
	o.walk.In = cursor.New(value.src, value.offset, value.offset+value.length, o.limits.HeaderBytes)
	if err := o.walk.Run(savedSlices); err != nil {
		if o.walk.Stopped() != nil {
			return err
		}
		o.find("entry", formats.Unread, value.offset, "the entry %.200q is broken: %v", sliceName(key), err)
	}
	return nil
}

// Child implements protobuf.Visitor.
func (o *oldParser) Child(k protobuf.Kind, number uint64) (protobuf.Kind, bool) {
	switch (parent{k, number}) {
	case parent{savedSlices, 1}:
		return slicesMeta, true
	case parent{savedSlices, 2}:
		return savedSlice, true
	case parent{slicesMeta, 1}:
		return sliceMeta, true
	case parent{sliceMeta, 2}:
		return shapeProto, true
	case parent{savedSlice, 2}:
		return tensorSlice, true
	case parent{tensorSlice, 1}:
		return sliceExtent, true
	case parent{savedSlice, 3}:
		return tensorProto, true
	}
	return o.graph.Child(k, number)
}

// Open implements protobuf.Visitor.
func (o *oldParser) Open(k protobuf.Kind, at int64) {
	switch k {
	case sliceMeta:
		o.v, o.t = variable{}, tensor{at: at}
	case savedSlice:
		o.name, o.slice, o.t = "", nil, tensor{at: at}
	case sliceExtent:
		o.axis = extent{}
	case tensorProto, dimProto:
		o.graph.Open(k, at)
	}
}

// Close implements protobuf.Visitor.
func (o *oldParser) Close(k protobuf.Kind) {
	switch k {
	case sliceMeta:
		o.v.shape, o.v.bad = o.t.shape, o.t.bad
		if v := o.v; o.byName[v.name] == nil && len(o.order) < o.limits.Tensors {
			o.byName[v.name] = &v
			o.order = append(o.order, &v)
		}
	case dimProto:
		o.t.addDim()
	case sliceExtent:
		if len(o.slice) < 64 {
			o.slice = append(o.slice, o.axis)
		}
	case savedSlice:
		o.list()
	}
}

// Field implements protobuf.Visitor.
func (o *oldParser) Field(k protobuf.Kind, f protobuf.Field) (err error) {
	switch k {
	case sliceMeta:
		switch {
		case f.Number == 1 && f.Wire == protobuf.Bytes:
			o.v.name, err = o.nameText(f)
		case f.Number == 3 && f.Wire == protobuf.Varint:
			o.v.dtype = f.Value
		}
	case savedSlice:
		if f.Number == 1 && f.Wire == protobuf.Bytes {
			o.name, err = o.nameText(f)
		}
	case sliceExtent:
		switch {
		case f.Number == 1 && f.Wire == protobuf.Varint:
			o.axis.start = int64(f.Value)
		case f.Number == 2 && f.Wire == protobuf.Varint:
			o.axis.length, o.axis.part = int64(f.Value), true
		}
	default:
		return o.graph.Field(k, f)
	}
	return err
}

func (o *oldParser) nameText(f protobuf.Field) (string, error) {
	s, cut, err := o.walk.In.Text(uint64(f.Piece.Length), o.limits.NameBytes)
	if cut {
		o.cut++
	}
	return s, err
}

// list makes a tensor of a slice: its type and shape are those of the variable.
func (o *oldParser) list() {
	v := o.byName[o.name]
	if v == nil {
		o.find("slice", formats.Warning, o.t.at, "a slice of %.200q, which is no variable of the checkpoint", o.name)
	} else {
		o.t.dtype = v.dtype
	}
	var c cut
	whole := false
	if o.t.shape, o.t.bad = nil, true; v != nil && !v.bad {
		if c, whole = cutOf(o.slice, v.shape); whole {
			o.t.shape, o.t.bad = c.length, false
		}
	}
	n := len(o.model.Tensors)
	o.emit()
	if len(o.model.Tensors) == n {
		return
	}
	o.model.Tensors[n].Name = o.name
	if whole {
		v.pieces = append(v.pieces, piece{n, c})
	}
}

// finishOld joins slices and reports what was odd.
func (o *oldParser) finishOld() {
	gone := map[int]bool{}
	for _, v := range o.order {
		// Nothing is left to do for a variable that was stored in whole.
		if len(v.pieces) == 1 && len(o.model.Tensors[v.pieces[0].tensor].Shape) == len(v.shape) && v.pieces[0].whole(v.shape) {
			continue
		}
		if len(v.pieces) > 0 && !assemble(o.model.Tensors, v.shape, v.pieces, gone) {
			o.find("slices", formats.Info, -1, "the %d slices of variable %.200q are listed one by one", len(v.pieces), v.name)
		}
	}
	drop(o.model, gone)
	o.walk.In = cursor.New(o.src, 0, 0, 0)
	o.finish(nil)
}

// whole reports whether a slice is all of a variable.
func (c cut) whole(shape []int64) bool {
	for i, d := range shape {
		if c.length[i] != d {
			return false
		}
	}
	return true
}
