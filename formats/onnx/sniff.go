package onnx

import "encoding/binary"

// Sniff implements formats.Decoder. Protobuf has no magic and its fields come in
// any order, so that Sniff follows the fields of the first bytes and refuses what
// cannot be a message; Decode looks closer, and what turns out to be something
// else ends there in ErrNotRecognized.
func (Decoder) Sniff(head []byte) bool {
	fields, graph := 0, false
	for len(head) > 0 {
		tag, n := binary.Uvarint(head)
		if n == 0 {
			return fields > 0 // cut inside a number
		}
		if n < 0 || tag>>3 == 0 || tag>>3 >= 1<<29 {
			return graph // what is broken behind a graph does not hide it
		}
		skip, ok := fieldLength(head[n:], tag&7)
		if !ok {
			return graph
		}
		fields++
		graph = graph || tag == 7<<3|wireBytes
		if skip >= uint64(len(head)-n) {
			return true
		}
		head = head[n+int(skip):]
	}
	return fields > 0
}

// fieldLength is how many bytes of b the contents of a field take, which may be
// more than there are; false for a wire type that no message has.
func fieldLength(b []byte, wire uint64) (uint64, bool) {
	switch wire {
	case wireVarint:
		_, n := binary.Uvarint(b)
		return uint64(max(n, 1)), n >= 0
	case wire64:
		return 8, true
	case wire32:
		return 4, true
	case wireBytes:
		length, n := binary.Uvarint(b)
		if n <= 0 || length >= 1<<62 {
			return 0, n == 0
		}
		return uint64(n) + length, true
	case wireGroup, wireEnd:
		return 0, true
	}
	return 0, false
}
