package process

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ProcEvent is one event of the kernel's process connector
// (include/uapi/linux/cn_proc.h).
type ProcEvent struct {
	What   uint32
	PID    int // of the thread group: the new one of a fork
	Thread int
	Parent int // of a fork
}

// The events that matter.
const (
	ProcFork = 0x00000001
	ProcExec = 0x00000002
	ProcExit = 0x80000000
)

var errConnector = errors.New("malformed process event")

const (
	netlinkHeader   = 16
	connectorHeader = 20
	procHeader      = 16
)

// parseConnector reads the netlink messages of one datagram.
func parseConnector(b []byte) ([]ProcEvent, error) {
	var out []ProcEvent
	for len(b) >= netlinkHeader {
		size := binary.NativeEndian.Uint32(b)
		if size < netlinkHeader || uint64(size) > uint64(len(b)) {
			return out, fmt.Errorf("%w: message of %d bytes, %d left", errConnector, size, len(b))
		}
		if ev, ok := parseProc(b[netlinkHeader:size]); ok {
			out = append(out, ev)
		}
		next := min((uint64(size)+3)&^3, uint64(len(b)))
		b = b[next:]
	}
	return out, nil
}

func parseProc(b []byte) (ProcEvent, bool) {
	if len(b) < connectorHeader+procHeader {
		return ProcEvent{}, false
	}
	body := b[connectorHeader:]
	ev := ProcEvent{What: binary.NativeEndian.Uint32(body)}
	field := func(i int) int {
		at := procHeader + 4*i
		if len(body) < at+4 {
			return 0
		}
		return int(int32(binary.NativeEndian.Uint32(body[at:])))
	}
	switch ev.What {
	case ProcFork:
		ev.Parent, ev.Thread, ev.PID = field(1), field(2), field(3)
	case ProcExec, ProcExit:
		ev.Thread, ev.PID = field(0), field(1)
	default:
		return ProcEvent{}, false
	}
	return ev, ev.PID > 0
}
