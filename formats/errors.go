package formats

import (
	"errors"
	"fmt"
)

// The closed set of reasons for which a decoder gives up. Every error of a
// decoder wraps one of them, or an error of reading the Source.
var (
	// ErrNotRecognized means the bytes are not of this format at all.
	ErrNotRecognized = errors.New("not recognised")
	// ErrTruncated means the file ends before what it announces.
	ErrTruncated = errors.New("truncated")
	// ErrLimit means the file is larger, deeper or more numerous than Limits allow.
	ErrLimit = errors.New("over the limit")
	// ErrMalformed means the bytes contradict the format or themselves.
	ErrMalformed = errors.New("malformed")
	// ErrUnsupported means a valid feature that this decoder does not read.
	ErrUnsupported = errors.New("unsupported")
)

// Error says where in which format decoding stopped, and why.
type Error struct {
	Format ID     // the decoder that gave up
	Field  string // the field it was reading, in the format's own terms
	Offset int64  // byte offset in the Source, -1 where there is none
	Err    error  // wraps one of the Err... reasons of this package
}

// Error implements error. Bytes of the file are never part of the text unquoted.
func (e *Error) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("%s: %s: %v", e.Format, e.Field, e.Err)
	}
	return fmt.Sprintf("%s: %s at offset %d: %v", e.Format, e.Field, e.Offset, e.Err)
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an *Error with a reason and a text that explains it.
func Errorf(format ID, field string, offset int64, reason error, text string, args ...any) *Error {
	return &Error{Format: format, Field: field, Offset: offset,
		Err: fmt.Errorf("%w: %s", reason, fmt.Sprintf(text, args...))}
}
