package protobuf

import (
	"errors"
	"fmt"
	"math"

	"weightwarden/formats"
	"weightwarden/formats/internal/cursor"
)

// Kind is a message type, numbered by the Visitor's own schema.
type Kind uint8

// Field is a field that holds no message of the Visitor's schema.
type Field struct {
	Number, Wire uint64
	Value        uint64 // of a Varint
	Piece        Piece  // the contents; Tag is 0 for Bytes
	Claimed      int64  // the length that the file gives, which may be more than is there
}

// Visitor is told what a Walk finds.
type Visitor interface {
	// Child returns the type of the message that a field of Bytes holds, false
	// where it holds something else or is of no interest.
	Child(parent Kind, number uint64) (Kind, bool)
	// Open and Close stand around the fields of a message at offset at.
	Open(k Kind, at int64)
	Close(k Kind)
	// Field takes a field of the innermost message. It may read the contents.
	Field(k Kind, f Field) error
}

// Walk reads one message from the place of In to its end and all messages within.
// A message that is malformed is left, and reading goes on behind it.
type Walk struct {
	In       *cursor.Reader
	Visitor  Visitor
	Depth    int // messages that may be open at once
	Stopped  func() error
	Broken   int  // messages that were left
	Short    bool // a message claims more bytes than there are
	TooDeep  int  // messages that were passed over
	open     []level
	finished int
}

type level struct {
	kind Kind
	end  int64
}

// Run reads the message. An error of the file, of the budget or in the fields of
// the outermost message ends it.
func (w *Walk) Run(root Kind) error {
	defer w.closeAll()
	w.push(root, w.In.Offset()+w.In.Left())
	for len(w.open) > 0 {
		top := w.open[len(w.open)-1]
		if w.In.Offset() >= top.end {
			w.pop()
			continue
		}
		if w.finished++; w.finished%4096 == 0 && w.Stopped() != nil {
			return w.Stopped()
		}
		if err := w.field(top); err != nil {
			reason := errors.Is(err, formats.ErrMalformed) || errors.Is(err, formats.ErrTruncated)
			if len(w.open) == 1 || errors.Is(err, formats.ErrLimit) || !reason {
				return err
			}
			w.Broken++
			if err := w.In.MoveTo(w.open[len(w.open)-1].end); err != nil {
				return err
			}
		}
	}
	return w.Stopped()
}

func (w *Walk) push(k Kind, end int64) {
	w.open = append(w.open, level{k, end})
	w.Visitor.Open(k, w.In.Offset())
}

func (w *Walk) pop() {
	k := w.open[len(w.open)-1].kind
	w.open = w.open[:len(w.open)-1]
	w.Visitor.Close(k)
}

func (w *Walk) closeAll() {
	for len(w.open) > 0 {
		w.pop()
	}
}

// field reads one field of the innermost message.
func (w *Walk) field(top level) error {
	at := w.In.Offset()
	tag, err := w.In.Uvarint()
	if err != nil {
		return err
	}
	body := w.In.Offset()
	f := Field{Number: tag >> 3, Wire: tag & 7, Piece: Piece{Offset: body, Tag: int(body - at)}}
	switch {
	case f.Number == 0 || f.Number >= 1<<29:
		return fmt.Errorf("%w: field number %d", formats.ErrMalformed, f.Number)
	case f.Wire == Bytes:
		return w.bytes(top, f)
	case f.Wire == Group:
		return inside(w.In, top, SkipGroup(w.Stopped, w.In, f.Number))
	case f.Wire == Varint:
		f.Value, err = w.In.Uvarint()
	default:
		err = skip(w.In, f.Wire)
	}
	if err := inside(w.In, top, err); err != nil {
		return err
	}
	f.Piece.Length = w.In.Offset() - body
	f.Claimed = f.Piece.Length
	return w.Visitor.Field(top.kind, f)
}

// inside holds a field that was read against the end of its message.
func inside(in *cursor.Reader, top level, err error) error {
	if err == nil && in.Offset() > top.end {
		err = fmt.Errorf("%w: a field reaches out of its message", formats.ErrTruncated)
	}
	return err
}

func (w *Walk) bytes(top level, f Field) error {
	length, err := w.In.Uvarint()
	if err := inside(w.In, top, err); err != nil {
		return err
	}
	if length > math.MaxInt64 {
		return fmt.Errorf("%w: a field of %d bytes", formats.ErrTruncated, length)
	}
	at := w.In.Offset()
	left := top.end - at
	// What a message claims beyond its end is not there; what is there counts.
	f.Claimed = int64(length)
	f.Piece = Piece{Offset: at, Length: min(f.Claimed, left)}
	w.Short = w.Short || f.Claimed > left
	if k, ok := w.Visitor.Child(top.kind, f.Number); ok {
		if len(w.open) < w.Depth {
			w.push(k, at+f.Piece.Length)
			return nil
		}
		w.TooDeep++
	} else if err := w.Visitor.Field(top.kind, f); err != nil {
		return err
	}
	return w.In.MoveTo(at + f.Piece.Length)
}
