package formatstest

import (
	"encoding/binary"
	"slices"
)

// Proto builds protobuf messages field by field, in any order and as wrong as a
// test wants them.
type Proto []byte

// Varint appends a number.
func (p Proto) Varint(field int, v uint64) Proto {
	return binary.AppendUvarint(binary.AppendUvarint(p, uint64(field)<<3), v)
}

// Bytes appends a length-delimited field: text, packed numbers or a message.
func (p Proto) Bytes(field int, b []byte) Proto {
	p = binary.AppendUvarint(binary.AppendUvarint(p, uint64(field)<<3|2), uint64(len(b)))
	return append(p, b...)
}

// Text appends a string.
func (p Proto) Text(field int, s string) Proto { return p.Bytes(field, []byte(s)) }

// Fixed32 appends a number of four bytes.
func (p Proto) Fixed32(field int, v uint32) Proto {
	return binary.LittleEndian.AppendUint32(binary.AppendUvarint(p, uint64(field)<<3|5), v)
}

// Fixed64 appends a number of eight bytes.
func (p Proto) Fixed64(field int, v uint64) Proto {
	return binary.LittleEndian.AppendUint64(binary.AppendUvarint(p, uint64(field)<<3|1), v)
}

// Packed appends numbers of variable length in one field.
func (p Proto) Packed(field int, v ...uint64) Proto {
	var b []byte
	for _, x := range v {
		b = binary.AppendUvarint(b, x)
	}
	return p.Bytes(field, b)
}

// Join returns messages one after the other, which merges them.
func (p Proto) Join(more ...Proto) Proto {
	return slices.Concat(append([]Proto{p}, more...)...)
}
