package pickle

import (
	"encoding/binary"
	"strconv"
	"strings"

	"weightwarden/formats"
)

// stackOps runs the opcodes that move values: marks, the memo, frames.
func (m *machine) stackOps(op byte) (bool, error) {
	switch op {
	case opMark:
		m.marks = append(m.marks, len(m.stack))
		return true, m.charge(16)
	case opPop:
		return true, m.discard()
	case opPopMark:
		_, err := m.popMark()
		return true, err
	case opDup:
		v, err := m.top()
		if err != nil {
			return true, err
		}
		return true, m.push(v, 0)
	case opProto:
		b, err := m.in.u8()
		if err != nil {
			return true, err
		}
		m.res.Protocol = int(b)
		return true, nil
	case opFrame:
		_, err := m.in.small(8) // a hint for buffering; loaders differ in what they do with a wrong one
		return true, err
	case opNextBuffer:
		m.note("pickle.buffer", "the pickle takes a buffer from outside of the file")
		return true, m.push(nil, 0)
	case opReadonlyBuffer:
		return true, nil
	}
	return m.memoOps(op)
}

// discard runs POP, which takes an open mark where one is on top.
func (m *machine) discard() error {
	if n := len(m.marks); n > 0 && m.marks[n-1] == len(m.stack) {
		m.marks = m.marks[:n-1]
		return nil
	}
	_, err := m.pop()
	return err
}

func (m *machine) memoOps(op byte) (bool, error) {
	switch op {
	case opMemoize:
		return true, m.remember(uint64(len(m.memo)))
	case opPut, opBinPut, opLongBinPut:
		i, err := m.memoIndex(op)
		if err != nil {
			return true, err
		}
		return true, m.remember(i)
	case opGet, opBinGet, opLongBinGet:
		i, err := m.memoIndex(op)
		if err != nil {
			return true, err
		}
		v, ok := m.memo[i]
		if !ok {
			return true, m.fail(formats.ErrMalformed, "nothing is remembered under %d", i)
		}
		return true, m.push(v, 0)
	}
	return false, nil
}

func (m *machine) remember(i uint64) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	if err := m.charge(64); err != nil {
		return err
	}
	m.memo[i] = v
	return nil
}

func (m *machine) memoIndex(op byte) (uint64, error) {
	switch op {
	case opPut, opGet:
		line, err := m.in.line()
		if err != nil {
			return 0, err
		}
		i, err := strconv.ParseUint(strings.TrimSpace(string(line)), 10, 32)
		if err != nil {
			return 0, m.fail(formats.ErrMalformed, "memo index %.40q", line)
		}
		return i, nil
	case opBinPut, opBinGet:
		b, err := m.in.u8()
		return uint64(b), err
	}
	b, err := m.in.small(4)
	if err != nil {
		return 0, err
	}
	return uint64(binary.LittleEndian.Uint32(b)), nil
}
