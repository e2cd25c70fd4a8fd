// Package protobuf reads protobuf messages of hostile files without schema code
// and without holding them: the wire format, messages within messages, and the
// numbers of a repeated field as an array. Source: the encoding guide of
// protobuf.dev.
package protobuf

import (
	"encoding/binary"
	"fmt"

	"weightwarden/formats"
	"weightwarden/formats/internal/cursor"
)

// The wire types of fields.
const (
	Varint  = 0
	Fixed64 = 1
	Bytes   = 2
	Group   = 3 // a message form that protobuf gave up
	end     = 4 // of a group
	Fixed32 = 5
)

// Sniff reports whether head, the start of a file, may be a message. It follows
// the fields there. What is broken behind a field of bytes of the given number does
// not count: that field is what the reader is after.
func Sniff(head []byte, number uint64) bool {
	fields, seen := 0, false
	for len(head) > 0 {
		tag, n := binary.Uvarint(head)
		if n == 0 {
			return fields > 0 // cut inside a number
		}
		if n < 0 || tag>>3 == 0 || tag>>3 >= 1<<29 {
			return seen
		}
		skip, ok := fieldLength(head[n:], tag&7)
		if !ok {
			return seen
		}
		fields++
		seen = seen || tag == number<<3|Bytes
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
	case Varint:
		_, n := binary.Uvarint(b)
		return uint64(max(n, 1)), n >= 0
	case Fixed64:
		return 8, true
	case Fixed32:
		return 4, true
	case Bytes:
		length, n := binary.Uvarint(b)
		if n <= 0 || length >= 1<<62 {
			return 0, n == 0
		}
		return uint64(n) + length, true
	case Group, end:
		return 0, true
	}
	return 0, false
}

// SkipGroup passes over the group of the given number, whose tag was read; readers
// skip unknown groups, nested or not. stopped ends it early.
func SkipGroup(stopped func() error, in *cursor.Reader, number uint64) error {
	nested := []uint64{number}
	for fields := 1; len(nested) > 0; fields++ {
		tag, err := in.Uvarint()
		if err != nil {
			return err
		}
		switch tag & 7 {
		case Group:
			nested = append(nested, tag>>3)
		case end:
			if nested[len(nested)-1] != tag>>3 {
				return fmt.Errorf("%w: a group ends as another one", formats.ErrMalformed)
			}
			nested = nested[:len(nested)-1]
		default:
			err = skip(in, tag&7)
		}
		if err != nil {
			return err
		}
		if len(nested) > 100 {
			return fmt.Errorf("%w: groups nested over 100 levels", formats.ErrMalformed)
		}
		if fields%4096 == 0 && stopped() != nil {
			return stopped()
		}
	}
	return nil
}

// skip passes over the contents of a field.
func skip(in *cursor.Reader, wire uint64) error {
	switch wire {
	case Varint:
		_, err := in.Uvarint()
		return err
	case Fixed64:
		return in.Skip(8)
	case Fixed32:
		return in.Skip(4)
	case Bytes:
		n, err := in.Uvarint()
		if err != nil {
			return err
		}
		return in.SkipArray(n, 1)
	}
	return fmt.Errorf("%w: wire type %d", formats.ErrMalformed, wire)
}
