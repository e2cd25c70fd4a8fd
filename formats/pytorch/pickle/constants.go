package pickle

import (
	"encoding/binary"
	"math"
	"math/big"
	"strconv"
	"strings"

	"weightwarden/formats"
)

// constants runs the opcodes that push a number or None.
func (m *machine) constants(op byte) (bool, error) {
	switch op {
	case opNone:
		return true, m.push(nil, 0)
	case opNewTrue:
		return true, m.push(true, 0)
	case opNewFalse:
		return true, m.push(false, 0)
	case opBinInt, opBinInt1, opBinInt2:
		return true, m.binInt(op)
	case opBinFloat:
		b, err := m.in.small(8)
		if err != nil {
			return true, err
		}
		return true, m.push(math.Float64frombits(binary.BigEndian.Uint64(b)), 8)
	case opLong1, opLong4:
		return true, m.binLong(op)
	case opInt, opLong, opFloat:
		return true, m.textNumber(op)
	}
	return false, nil
}

func (m *machine) binInt(op byte) error {
	width := 4
	switch op {
	case opBinInt1:
		width = 1
	case opBinInt2:
		width = 2
	}
	b, err := m.in.small(width)
	if err != nil {
		return err
	}
	var v int64
	switch width {
	case 1:
		v = int64(b[0])
	case 2:
		v = int64(binary.LittleEndian.Uint16(b))
	default:
		v = int64(int32(binary.LittleEndian.Uint32(b)))
	}
	return m.push(v, 8)
}

func (m *machine) binLong(op byte) error {
	width := 1
	if op == opLong4 {
		width = 4
	}
	n, err := m.in.length(width)
	if err != nil {
		return err
	}
	keep := min(n, longBytes)
	b, err := m.in.small(int(keep))
	if err != nil {
		return err
	}
	if n <= 8 {
		return m.push(twosComplement(b), 8)
	}
	v := &Long{LittleEndian: append([]byte(nil), b...)}
	m.in.skip(n - keep)
	return m.push(v, 48+keep)
}

// twosComplement reads up to eight little-endian bytes with sign.
func twosComplement(b []byte) int64 {
	var v uint64
	if n := len(b); n > 0 && b[n-1]&0x80 != 0 {
		v = ^uint64(0)
	}
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return int64(v)
}

// textNumber runs INT, LONG and FLOAT, which are lines of text.
func (m *machine) textNumber(op byte) error {
	line, err := m.in.line()
	if err != nil {
		return err
	}
	s := strings.TrimSpace(string(line))
	switch {
	case op == opInt && s == "00":
		return m.push(false, 0)
	case op == opInt && s == "01":
		return m.push(true, 0)
	case op == opFloat:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return m.fail(formats.ErrMalformed, "number %.40q", s)
		}
		return m.push(f, 8)
	}
	s = strings.TrimSuffix(s, "L")
	if v, err := strconv.ParseInt(s, 0, 64); err == nil {
		return m.push(v, 8)
	}
	if len(s) > 4*longBytes {
		return m.fail(formats.ErrLimit, "number of %d digits", len(s))
	}
	v, ok := new(big.Int).SetString(s, 0)
	if !ok {
		return m.fail(formats.ErrMalformed, "number %.40q", s)
	}
	be := v.Bytes()
	if v.Sign() < 0 { // two's complement of a number that is longer than int64
		be = new(big.Int).Add(v, new(big.Int).Lsh(big.NewInt(1), uint(len(be)+1)*8)).Bytes()
	}
	le := make([]byte, 0, len(be))
	for i := len(be) - 1; i >= 0; i-- {
		le = append(le, be[i])
	}
	return m.push(&Long{LittleEndian: le[:min(len(le), longBytes)]}, 48+longBytes)
}
