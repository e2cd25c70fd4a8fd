package tensorflow

import (
	"context"
	"errors"
	"fmt"

	"weightwarden/formats"
	"weightwarden/formats/internal/cursor"
	"weightwarden/formats/internal/protobuf"
)

// GraphID is the format's name.
const GraphID formats.ID = "tensorflow-graph"

// GraphDecoder reads the constants of a graph: a frozen GraphDef, a MetaGraphDef
// (.meta) or a saved_model.pb, functions included. Source: graph.proto,
// node_def.proto, function.proto, tensor.proto, attr_value.proto and
// saved_model.proto of tensorflow/tensorflow.
type GraphDecoder struct{}

// ID implements formats.Decoder.
func (GraphDecoder) ID() formats.ID { return GraphID }

// Sniff implements formats.Decoder: every root has its nodes under field 1 or 2.
func (GraphDecoder) Sniff(head []byte) bool {
	return protobuf.Sniff(head, 1) || protobuf.Sniff(head, 2)
}

// The message types that lead to tensors.
const (
	savedModel protobuf.Kind = iota
	metaGraph
	graphDef
	library
	function
	signature
	node
	attribute // an entry of a map: name and AttrValue
	attrValue
	attrList
	attrFunction // NameAttrList
	tensorProto
	shapeProto
	dimProto
)

type parent struct {
	kind   protobuf.Kind
	number uint64
}

// child returns the message type of a field.
func child(p parent) (protobuf.Kind, bool) {
	switch p {
	case parent{savedModel, 2}:
		return metaGraph, true
	case parent{metaGraph, 2}:
		return graphDef, true
	case parent{graphDef, 1}, parent{function, 3}:
		return node, true
	case parent{graphDef, 2}:
		return library, true
	case parent{library, 1}:
		return function, true
	case parent{function, 1}:
		return signature, true
	case parent{node, 5}, parent{attrFunction, 2}:
		return attribute, true
	case parent{attribute, 2}:
		return attrValue, true
	case parent{attrValue, 1}:
		return attrList, true
	case parent{attrValue, 10}, parent{attrList, 9}:
		return attrFunction, true
	case parent{attrValue, 8}, parent{attrList, 8}:
		return tensorProto, true
	case parent{tensorProto, 2}:
		return shapeProto, true
	case parent{shapeProto, 2}:
		return dimProto, true
	}
	return 0, false
}

// roots are the messages that a file may hold. Nothing in a file says which, and
// one that is made for it reads as several: all are tried.
var roots = [...]struct {
	kind    protobuf.Kind
	variant string
}{{graphDef, "graph"}, {savedModel, "saved model"}, {metaGraph, "meta graph"}}

// Decode implements formats.Decoder.
func (GraphDecoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	m := &formats.Model{Format: GraphID}
	left := limits.HeaderBytes
	for _, root := range roots {
		g := newGraph(ctx, src, limits, m, left/int64(len(roots)))
		err := g.walk.Run(root.kind)
		if ctx.Err() != nil {
			return nil, formats.Errorf(GraphID, "message", g.walk.In.Offset(), ctx.Err(), "stopped")
		}
		if !g.recognised {
			if errors.Is(err, formats.ErrLimit) && g.nodes > 0 && root.kind == graphDef {
				return nil, &formats.Error{Format: GraphID, Field: "node", Offset: g.walk.In.Offset(), Err: err}
			}
			m.Tensors = m.Tensors[:g.first]
			continue
		}
		g.finish(err)
		if m.Variant != "" {
			g.find("kinds", formats.Warning, -1, "the file reads as a %s and as a %s", m.Variant, root.variant)
			continue
		}
		m.Variant = root.variant
	}
	if m.Variant == "" {
		return nil, formats.Errorf(GraphID, "node", 0, formats.ErrNotRecognized, "no node of a graph")
	}
	return m, nil
}

// scope is an open message that has a name, and the first tensor inside.
type scope struct {
	name, op string
	first    int
}

// graph takes the fields of one walk.
type graph struct {
	walk   protobuf.Walk
	src    formats.Source
	limits formats.Limits
	model  *formats.Model
	scopes []scope // of function, node and attribute
	first  int     // tensors of the model when the walk began
	t      tensor

	recognised    bool
	nodes         int
	over, clipped int
	texts         int
	textBytes     int64
	cut           int
	scanLeft      int64
	fillLeft      int64
}

func newGraph(ctx context.Context, src formats.Source, limits formats.Limits, m *formats.Model, budget int64) *graph {
	g := &graph{src: src, limits: limits, model: m, first: len(m.Tensors), scanLeft: maxScan, fillLeft: maxFill}
	g.walk = protobuf.Walk{In: cursor.New(src, 0, src.Size(), budget), Visitor: g, Depth: 4*limits.Depth + 12, Stopped: ctx.Err}
	return g
}

// Child implements protobuf.Visitor.
func (g *graph) Child(k protobuf.Kind, number uint64) (protobuf.Kind, bool) {
	return child(parent{k, number})
}

// Open implements protobuf.Visitor.
func (g *graph) Open(k protobuf.Kind, at int64) {
	switch k {
	case function, node, attribute:
		g.scopes = append(g.scopes, scope{first: len(g.model.Tensors)})
	case tensorProto:
		g.t = tensor{at: at}
	case dimProto:
		g.t.dim = 0
	}
}

// Close implements protobuf.Visitor.
func (g *graph) Close(k protobuf.Kind) {
	switch k {
	case function, node, attribute:
		s := g.scopes[len(g.scopes)-1]
		g.scopes = g.scopes[:len(g.scopes)-1]
		g.nameTensors(k, s)
	case tensorProto:
		g.emit()
	case dimProto:
		g.t.addDim()
	}
}

// knownOps are operators that nearly every graph has one of. A message of other
// making may look like nodes as long as none of them holds a tensor.
var knownOps = map[string]bool{"Const": true, "Placeholder": true, "NoOp": true, "VarHandleOp": true, "VariableV2": true,
	"PartitionedCall": true, "StatefulPartitionedCall": true, "Identity": true, "MatMul": true}

// nameTensors puts the name of a message before those of the tensors inside. The
// value of a constant bears the name of its node.
func (g *graph) nameTensors(k protobuf.Kind, s scope) {
	if k == node {
		g.nodes++
		if isName(s.name) && isName(s.op) {
			g.recognised = g.recognised || knownOps[s.op] || len(g.model.Tensors) > s.first
		}
	}
	for i := s.first; i < len(g.model.Tensors); i++ {
		t := &g.model.Tensors[i]
		switch {
		case t.Name == "" || k == node && t.Name == "value":
			t.Name = s.name
		case s.name != "":
			t.Name = formats.Cut(s.name+"/"+t.Name, g.limits.NameBytes)
		}
	}
}

// isName reports whether s may be the name of a node or an operator.
func isName(s string) bool {
	for _, c := range []byte(s) {
		if c < '!' || c > '~' {
			return false
		}
	}
	return s != ""
}

// Field implements protobuf.Visitor.
func (g *graph) Field(k protobuf.Kind, f protobuf.Field) error {
	switch k {
	case tensorProto:
		g.t.field(f)
	case shapeProto:
		g.t.bad = g.t.bad || f.Number == 3 && f.Value != 0 // unknown rank
	case dimProto:
		if f.Number == 1 && f.Wire == protobuf.Varint {
			g.t.dim = f.Value
		}
	case node, attribute, signature:
		if f.Wire == protobuf.Bytes && (f.Number == 1 || f.Number == 2 && k == node) {
			return g.text(k, f)
		}
	}
	return nil
}

// text takes the name of a node, attribute or function, or a node's operator.
func (g *graph) text(k protobuf.Kind, f protobuf.Field) error {
	s, cut, err := g.walk.In.Text(uint64(f.Piece.Length), g.limits.NameBytes)
	if cut {
		g.cut++
	}
	if len(g.scopes) == 0 {
		return err
	}
	top := &g.scopes[len(g.scopes)-1]
	if k == node && f.Number == 2 {
		top.op = s
	} else {
		top.name = s // a signature names the function around it
	}
	return err
}

func (g *graph) find(code string, s formats.Severity, offset int64, text string, args ...any) {
	g.model.AddFinding(g.limits.Findings, formats.Finding{Code: "tensorflow." + code, Severity: s,
		Text: fmt.Sprintf(text, args...), Offset: offset})
}

// finish reports what was odd about the whole; err is what ended the reading.
func (g *graph) finish(err error) {
	w := &g.walk
	if err != nil {
		g.find("message", formats.Unread, w.In.Offset(), "the file was read in part: %v", err)
	}
	if w.Short {
		g.find("truncated", formats.Unread, g.src.Size(), "a message claims more bytes than there are")
	}
	if g.clipped > 0 {
		g.find("truncated", formats.Unread, -1, "the bytes of %d tensors are not all there", g.clipped)
	}
	if w.Broken > 0 {
		g.find("message", formats.Warning, -1, "%d messages are malformed and were read in part", w.Broken)
	}
	if w.TooDeep > 0 {
		g.find("depth", formats.Unread, -1, "%d messages nested over %d levels were not read", w.TooDeep, w.Depth)
	}
	if g.over > 0 {
		g.find("limit", formats.Unread, -1, "%d tensors over the limit of %d were not read", g.over, g.limits.Tensors)
	}
	if g.texts > 0 {
		g.find("text", formats.Info, -1, "%d tensors of text of %d bytes are not listed", g.texts, g.textBytes)
	}
	if g.cut > 0 {
		g.find("names", formats.Warning, -1, "%d names were cut to %d bytes", g.cut, g.limits.NameBytes)
	}
}
