package pickle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"

	"weightwarden/formats"
)

// objects runs the opcodes that would import, call or fetch something.
func (m *machine) objects(op byte) (bool, error) {
	switch op {
	case opGlobal:
		return true, m.globalLines()
	case opStackGlobal:
		return true, m.stackGlobal()
	case opExt1, opExt2, opExt4:
		return true, m.extension(op)
	case opInst:
		return true, m.inst()
	case opReduce, opNewObj:
		return true, m.reduce()
	case opNewObjEx:
		return true, m.newObjEx()
	case opObj:
		return true, m.obj()
	case opBuild:
		return true, m.build()
	case opPersID:
		line, err := m.in.line()
		if err != nil {
			return true, err
		}
		return true, m.persistent(string(line))
	case opBinPersID:
		id, err := m.pop()
		if err != nil {
			return true, err
		}
		return true, m.persistent(id)
	}
	return false, nil
}

// global returns the one Global of a name.
func (m *machine) global(module, name string) (*Global, error) {
	key := [2]string{module, name}
	if g, ok := m.globals[key]; ok {
		return g, nil
	}
	if err := m.charge(int64(len(module)+len(name)) + 200); err != nil {
		return nil, err
	}
	g := &Global{Module: module, Name: name, Offset: m.op}
	m.globals[key] = g
	m.res.Globals = append(m.res.Globals, g)
	return g, nil
}

func (m *machine) pushGlobal(module, name string) error {
	g, err := m.global(module, name)
	if err != nil {
		return err
	}
	return m.push(g, 0)
}

func (m *machine) twoLines() (module, name string, err error) {
	a, err := m.in.line()
	if err != nil {
		return "", "", err
	}
	b, err := m.in.line()
	if err != nil {
		return "", "", err
	}
	return string(bytes.TrimSuffix(a, []byte{'\r'})), string(bytes.TrimSuffix(b, []byte{'\r'})), nil
}

func (m *machine) globalLines() error {
	module, name, err := m.twoLines()
	if err != nil {
		return err
	}
	return m.pushGlobal(module, name)
}

func (m *machine) stackGlobal() error {
	name, err := m.pop()
	if err != nil {
		return err
	}
	module, err := m.pop()
	if err != nil {
		return err
	}
	mod, okM := module.(string)
	n, okN := name.(string)
	if !okM || !okN {
		m.note("pickle.type", "a global is named by something that is no short string")
		mod, n = fmt.Sprintf("(%T)", module), fmt.Sprintf("(%T)", name)
	}
	return m.pushGlobal(mod, n)
}

// extension names objects by a number of the copyreg registry.
func (m *machine) extension(op byte) error {
	width := map[byte]int{opExt1: 1, opExt2: 2, opExt4: 4}[op]
	b, err := m.in.small(width)
	if err != nil {
		return err
	}
	var code [4]byte
	copy(code[:], b)
	return m.pushGlobal("copyreg.extension", strconv.FormatUint(uint64(binary.LittleEndian.Uint32(code[:])), 10))
}

func (m *machine) call(fn, args Value) error {
	c := &Call{Func: fn, Args: args, Offset: m.op}
	m.res.Calls = append(m.res.Calls, c)
	return m.push(c, 160)
}

func (m *machine) inst() error {
	module, name, err := m.twoLines()
	if err != nil {
		return err
	}
	items, err := m.popMark()
	if err != nil {
		return err
	}
	g, err := m.global(module, name)
	if err != nil {
		return err
	}
	return m.call(g, &Seq{Kind: Tuple, Items: items})
}

func (m *machine) reduce() error {
	args, err := m.pop()
	if err != nil {
		return err
	}
	fn, err := m.pop()
	if err != nil {
		return err
	}
	return m.call(fn, args)
}

func (m *machine) newObjEx() error {
	kwargs, err := m.pop()
	if err != nil {
		return err
	}
	args, err := m.pop()
	if err != nil {
		return err
	}
	cls, err := m.pop()
	if err != nil {
		return err
	}
	if err := m.call(cls, args); err != nil {
		return err
	}
	if d, ok := kwargs.(*Dict); ok {
		c := m.res.Calls[len(m.res.Calls)-1]
		if err := m.charge(int64(len(d.Pairs)) * 2 * wordPair); err != nil {
			return err
		}
		c.Pairs = append(c.Pairs, d.Pairs...)
	}
	return nil
}

func (m *machine) obj() error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return m.fail(formats.ErrMalformed, "OBJ without a class")
	}
	return m.call(items[0], &Seq{Kind: Tuple, Items: items[1:]})
}

// build sets the state of the object on top of the stack.
func (m *machine) build() error {
	state, err := m.pop()
	if err != nil {
		return err
	}
	top, err := m.top()
	if err != nil {
		return err
	}
	c, ok := top.(*Call)
	switch {
	case !ok: // __setstate__ of something else: kept, under a Call of its own
		if _, err = m.pop(); err != nil {
			return err
		}
		if err := m.call(top, nil); err != nil {
			return err
		}
		m.res.Calls[len(m.res.Calls)-1].State = state
	case c.State == nil:
		c.State = state
	default:
		if err := m.charge(64); err != nil {
			return err
		}
		c.State = &Seq{Kind: Tuple, Items: []Value{c.State, state}}
	}
	return nil
}

func (m *machine) persistent(id Value) error {
	p := &Persistent{ID: id, Offset: m.op}
	m.res.Persistents = append(m.res.Persistents, p)
	return m.push(p, 64)
}
