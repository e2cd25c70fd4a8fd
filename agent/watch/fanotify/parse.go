// Package fanotify is a small wrapper of the kernel's fanotify interface
// (fanotify(7), include/uapi/linux/fanotify.h): groups, marks and the records
// that a group's descriptor yields.
//
// The parser takes bytes and never trusts a length in them; it is separate from
// the system calls, so that it can be fuzzed anywhere.
package fanotify

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Handle is a file handle as open_by_handle_at wants it, with the file system it
// belongs to.
type Handle struct {
	FS    [8]byte
	Type  int32
	Bytes string
}

// Zero reports whether there is no handle.
func (h Handle) Zero() bool { return h.Bytes == "" }

// Place is a directory entry: a folder's handle and a name in it.
type Place struct {
	Dir  Handle
	Name string
}

// Event is one record.
type Event struct {
	Mask  uint64
	FD    int32 // -1: none; the receiver closes it
	PID   int32
	PIDFD int32 // -1: none; the receiver closes it
	Child Handle
	Place Place // of create, delete, attrib
	Old   Place // of a rename
	New   Place // of a rename
	Mount uint64
	Err   int32 // of FAN_FS_ERROR
}

// ErrMalformed is returned for bytes that are no event records.
var ErrMalformed = errors.New("malformed fanotify event")

const (
	metadataBytes   = 24
	metadataVersion = 3

	infoFID         = 1
	infoDFIDName    = 2
	infoDFID        = 3
	infoPIDFD       = 4
	infoError       = 5
	infoMount       = 7
	infoOldDFIDName = 10
	infoNewDFIDName = 12
)

// Parse reads the records of one read from a group. What stands before a defect
// is returned with the error, since descriptors in it must be closed.
func Parse(b []byte) ([]Event, error) {
	var out []Event
	for len(b) > 0 {
		if len(b) < metadataBytes {
			return out, fmt.Errorf("%w: %d bytes left", ErrMalformed, len(b))
		}
		size, head := binary.NativeEndian.Uint32(b), int(binary.NativeEndian.Uint16(b[6:]))
		if b[4] != metadataVersion {
			return out, fmt.Errorf("%w: version %d", ErrMalformed, b[4])
		}
		if uint64(size) > uint64(len(b)) || head < metadataBytes || uint64(head) > uint64(size) {
			return out, fmt.Errorf("%w: record of %d bytes with a head of %d, %d bytes left", ErrMalformed, size, head, len(b))
		}
		ev := Event{Mask: binary.NativeEndian.Uint64(b[8:]), FD: int32(binary.NativeEndian.Uint32(b[16:])),
			PID: int32(binary.NativeEndian.Uint32(b[20:])), PIDFD: -1}
		err := parseInfos(b[head:size], &ev)
		out = append(out, ev)
		if err != nil {
			return out, err
		}
		b = b[size:]
	}
	return out, nil
}

func parseInfos(b []byte, ev *Event) error {
	for len(b) >= 4 {
		kind, size := b[0], int(binary.NativeEndian.Uint16(b[2:]))
		if size < 4 || size > len(b) {
			return fmt.Errorf("%w: information of %d bytes, %d left", ErrMalformed, size, len(b))
		}
		if err := parseInfo(kind, b[4:size], ev); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

func parseInfo(kind uint8, b []byte, ev *Event) error {
	switch kind {
	case infoPIDFD:
		if len(b) >= 4 {
			ev.PIDFD = int32(binary.NativeEndian.Uint32(b))
		}
	case infoError:
		if len(b) >= 4 {
			ev.Err = int32(binary.NativeEndian.Uint32(b))
		}
	case infoMount:
		if len(b) >= 8 {
			ev.Mount = binary.NativeEndian.Uint64(b[len(b)-8:])
		}
	case infoFID, infoDFID, infoDFIDName, infoOldDFIDName, infoNewDFIDName:
		h, rest, err := parseHandle(b)
		if err != nil {
			return err
		}
		switch kind {
		case infoFID:
			ev.Child = h
		case infoDFID:
			ev.Place.Dir = h
		case infoDFIDName:
			ev.Place = Place{h, cString(rest)}
		case infoOldDFIDName:
			ev.Old = Place{h, cString(rest)}
		case infoNewDFIDName:
			ev.New = Place{h, cString(rest)}
		}
	}
	return nil // kinds of later kernels are skipped
}

// parseHandle reads fsid, handle length, handle type, handle.
func parseHandle(b []byte) (Handle, []byte, error) {
	if len(b) < 16 {
		return Handle{}, nil, fmt.Errorf("%w: file handle of %d bytes", ErrMalformed, len(b))
	}
	n := binary.NativeEndian.Uint32(b[8:])
	if uint64(n) > uint64(len(b)-16) {
		return Handle{}, nil, fmt.Errorf("%w: file handle claims %d bytes, %d left", ErrMalformed, n, len(b)-16)
	}
	h := Handle{FS: [8]byte(b[:8]), Type: int32(binary.NativeEndian.Uint32(b[12:])), Bytes: string(b[16 : 16+n])}
	return h, b[16+n:], nil
}

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
