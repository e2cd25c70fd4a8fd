package pickle

// Value is what a pickle builds. It is one of: nil (None), bool, int64, float64,
// string, *Long, *Bytes, *Seq, *Dict, *Global, *Call, *Persistent. Values may
// contain themselves and may be shared: whoever walks them must remember where
// it has been.
type Value any

// Long is an integer that does not fit int64.
type Long struct {
	// LittleEndian is the two's complement number, cut to its lowest 64 bytes.
	LittleEndian []byte
}

// Bytes is a byte or text string that was left where it is: a bytes object, or
// any string longer than inlineString.
type Bytes struct {
	Offset, Length int64 // in the Source that the machine read
	UTF8           bool  // a str object, stored as UTF-8
}

// Kind tells sequences apart.
type Kind uint8

// The kinds of Seq.
const (
	Tuple Kind = iota
	List
	Set
	FrozenSet
	// Broken holds what was on the stack when a stream ended before STOP.
	Broken
)

// Seq is a tuple, list or set.
type Seq struct {
	Kind  Kind
	Items []Value
}

// Pair is one item of a dict.
type Pair struct{ Key, Value Value }

// Dict keeps its items in the order of the stream; a key that is set twice is
// there twice.
type Dict struct{ Pairs []Pair }

// Global is a name that unpickling would import.
type Global struct {
	Module, Name string
	Offset       int64 // of the first opcode that asks for it
}

// String returns module.name.
func (g *Global) String() string { return g.Module + "." + g.Name }

// Call is a call or construction that unpickling would perform: REDUCE, OBJ,
// INST, NEWOBJ, NEWOBJ_EX, or BUILD on something that is no Call. It is never
// performed.
type Call struct {
	Func   Value // mostly a *Global
	Args   Value // mostly a *Seq of kind Tuple
	State  Value // argument of the last BUILD
	Items  []Value
	Pairs  []Pair
	Offset int64 // of the opcode
}

// Persistent is an object that lives outside of the pickle, such as a storage.
type Persistent struct {
	ID     Value
	Offset int64
}

// Name returns the global that a Call would call; false where it is no Global.
func (c *Call) Name() (*Global, bool) {
	g, ok := c.Func.(*Global)
	return g, ok
}

// Arg returns the i-th argument of a Call, nil where there is none.
func (c *Call) Arg(i int) Value {
	if s, ok := c.Args.(*Seq); ok && i >= 0 && i < len(s.Items) {
		return s.Items[i]
	}
	return nil
}
