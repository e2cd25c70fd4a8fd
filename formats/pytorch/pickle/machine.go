// Package pickle runs Python pickle streams on an abstract machine that imports
// nothing and calls nothing: it builds the values a pickle describes and keeps
// calls, imports and persistent objects as data. All opcodes of protocols 0 to 5
// are known. The format is described by CPython's Lib/pickletools.py.
//
// The machine is bounded: bytes read, values made, stack and memo. Long strings
// stay where they are in the file. A stream that breaks yields what was built so
// far, because loaders act on the opcodes before the break.
package pickle

import (
	"context"

	"weightwarden/formats"
)

const (
	inlineString = 32 << 10 // longer strings stay in the file
	lineBytes    = 1 << 20
	longBytes    = 64
	// valueFactor times Limits.HeaderBytes bounds the memory of values.
	valueFactor = 2
	maxNotes    = 100
)

// Note is something odd that the machine met and went on after.
type Note struct {
	Code   string
	Text   string
	Offset int64
}

// Result is what one pickle built.
type Result struct {
	// Value is what STOP returned or, where the stream broke, a *Seq of kind
	// Broken with what was on the stack, unfinished containers closed.
	Value Value
	// End is the offset behind STOP, or of the place where the stream broke.
	End int64
	// Protocol is the number of the PROTO opcode, 0 without one.
	Protocol int
	// Globals are the names asked for, in order, each once.
	Globals []*Global
	// Calls are all calls in the order of the stream, discarded ones included.
	Calls []*Call
	// Persistents are all outside objects in the order of the stream.
	Persistents []*Persistent
	Notes       []Note
	// Broken is why the stream ended before STOP, nil where it did not.
	Broken error
	// Opcodes is how many opcodes were run.
	Opcodes int64
}

// Run reads the pickle that starts at offset of src. It fails only where not
// even one opcode could be run, or where ctx ends.
func Run(ctx context.Context, src formats.Source, offset int64, limits formats.Limits) (*Result, error) {
	limits = limits.OrDefault()
	m := &machine{
		in:      newInput(src, offset, limits.HeaderBytes),
		memo:    map[uint64]Value{},
		globals: map[[2]string]*Global{},
		memory:  limits.HeaderBytes * valueFactor,
		res:     &Result{},
	}
	err := m.run(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	m.res.End = m.in.pos
	if err != nil {
		if m.res.Opcodes == 0 {
			return nil, err
		}
		m.res.Broken = err
		m.res.Value = m.unfinished()
	}
	return m.res, nil
}

type machine struct {
	in      *input
	stack   []Value
	marks   []int // stack heights at the open marks
	memo    map[uint64]Value
	globals map[[2]string]*Global
	memory  int64 // bytes that values may still take
	op      int64 // offset of the current opcode
	res     *Result
}

func (m *machine) run(ctx context.Context) error {
	for {
		if m.res.Opcodes&0xfff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		m.op = m.in.pos
		op, err := m.in.u8()
		if err != nil {
			return err
		}
		if op == opStop {
			return m.stop()
		}
		if err := m.step(op); err != nil {
			m.in.pos = m.op
			return err
		}
		m.res.Opcodes++
	}
}

// step runs one opcode; each group knows whether the opcode is its own.
func (m *machine) step(op byte) error {
	for _, group := range [...]func(byte) (bool, error){m.constants, m.strings, m.containers, m.objects, m.stackOps} {
		if known, err := group(op); known || err != nil {
			return err
		}
	}
	return m.fail(formats.ErrMalformed, "unknown opcode %#02x", op)
}

func (m *machine) stop() error {
	v, err := m.pop()
	if err != nil {
		return err
	}
	m.res.Opcodes++
	m.res.Value = v
	if len(m.stack) > 0 || len(m.marks) > 0 {
		m.note("pickle.leftover", "values are left on the stack at the end of the pickle")
	}
	return nil
}

func (m *machine) fail(reason error, text string, args ...any) error {
	return formats.Errorf("pickle", "opcode", m.op, reason, text, args...)
}

func (m *machine) note(code, text string) {
	if len(m.res.Notes) < maxNotes {
		m.res.Notes = append(m.res.Notes, Note{Code: code, Text: text, Offset: m.op})
	}
}

// charge accounts for memory that a value takes.
func (m *machine) charge(n int64) error {
	if m.memory -= n; m.memory < 0 {
		return m.fail(formats.ErrLimit, "values take more memory than the limit for metadata")
	}
	return nil
}

func (m *machine) push(v Value, cost int64) error {
	if err := m.charge(cost + 2*wordPair); err != nil {
		return err
	}
	m.stack = append(m.stack, v)
	return nil
}

const wordPair = 16 // bytes of an interface value

// floor is the height of the stack below which only a mark's owner may reach.
func (m *machine) floor() int {
	if n := len(m.marks); n > 0 {
		return m.marks[n-1]
	}
	return 0
}

func (m *machine) pop() (Value, error) {
	if len(m.stack) <= m.floor() {
		return nil, m.fail(formats.ErrMalformed, "stack is empty")
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v, nil
}

func (m *machine) top() (Value, error) {
	if len(m.stack) <= m.floor() {
		return nil, m.fail(formats.ErrMalformed, "stack is empty")
	}
	return m.stack[len(m.stack)-1], nil
}

// popMark takes what lies above the last mark. The result is a copy.
func (m *machine) popMark() ([]Value, error) {
	if len(m.marks) == 0 {
		return nil, m.fail(formats.ErrMalformed, "no mark")
	}
	at := m.floor()
	m.marks = m.marks[:len(m.marks)-1]
	n := len(m.stack) - at
	if err := m.charge(int64(n) * wordPair); err != nil {
		return nil, err
	}
	items := append(make([]Value, 0, n), m.stack[at:]...)
	clear(m.stack[at:])
	m.stack = m.stack[:at]
	return items, nil
}

// unfinished closes the containers that were open when the stream broke and
// returns everything that was on the stack.
func (m *machine) unfinished() Value {
	m.memory = int64(len(m.stack)+1) * 4 * wordPair // closing needs no more than what is there
	for len(m.marks) > 0 {
		items, err := m.popMark()
		if err != nil {
			break
		}
		if len(m.stack) > m.floor() && m.extend(m.stack[len(m.stack)-1], items) {
			continue
		}
		m.stack = append(m.stack, items...)
	}
	return &Seq{Kind: Broken, Items: m.stack}
}

// extend adds items to a list, dict or call, as APPENDS or SETITEMS would.
func (m *machine) extend(to Value, items []Value) bool {
	switch c := to.(type) {
	case *Seq:
		if c.Kind == List {
			c.Items = append(c.Items, items...)
			return true
		}
	case *Dict:
		c.Pairs = appendPairs(c.Pairs, items)
		return true
	case *Call:
		c.Pairs = appendPairs(c.Pairs, items)
		return true
	}
	return false
}

func appendPairs(pairs []Pair, items []Value) []Pair {
	for i := 0; i+1 < len(items); i += 2 {
		pairs = append(pairs, Pair{items[i], items[i+1]})
	}
	return pairs
}
