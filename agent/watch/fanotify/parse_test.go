package fanotify

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// info builds one information record.
func info(kind uint8, body []byte) []byte {
	b := make([]byte, 4, 4+len(body))
	b[0] = kind
	binary.NativeEndian.PutUint16(b[2:], uint16(4+len(body)))
	return append(b, body...)
}

func handleBody(fs byte, handle, name string) []byte {
	b := make([]byte, 16)
	b[0] = fs
	binary.NativeEndian.PutUint32(b[8:], uint32(len(handle)))
	binary.NativeEndian.PutUint32(b[12:], 1)
	b = append(b, handle...)
	if name != "" {
		b = append(append(b, name...), 0)
	}
	return b
}

func event(mask uint64, fd, pid int32, infos ...[]byte) []byte {
	b := make([]byte, metadataBytes)
	b[4] = metadataVersion
	binary.NativeEndian.PutUint16(b[6:], metadataBytes)
	binary.NativeEndian.PutUint64(b[8:], mask)
	binary.NativeEndian.PutUint32(b[16:], uint32(fd))
	binary.NativeEndian.PutUint32(b[20:], uint32(pid))
	for _, i := range infos {
		b = append(b, i...)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

func TestParse(t *testing.T) {
	h := func(fs byte, s string) Handle { return Handle{FS: [8]byte{fs}, Type: 1, Bytes: s} }
	pidfd := make([]byte, 4)
	binary.NativeEndian.PutUint32(pidfd, 9)
	b := append(event(8, 7, 42), event(1<<28, -1, 43,
		info(infoOldDFIDName, handleBody(2, "dir1", "a")), info(infoNewDFIDName, handleBody(2, "dir2", "b")),
		info(infoFID, handleBody(2, "file", "")), info(infoPIDFD, pidfd), info(99, []byte("later kernels")))...)
	got, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	want := []Event{
		{Mask: 8, FD: 7, PID: 42, PIDFD: -1},
		{Mask: 1 << 28, FD: -1, PID: 43, PIDFD: 9, Child: h(2, "file"), Old: Place{h(2, "dir1"), "a"}, New: Place{h(2, "dir2"), "b"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestParseMalformed(t *testing.T) {
	long := event(8, 7, 42)
	binary.NativeEndian.PutUint32(long, 1<<31)
	short := event(8, 7, 42)
	binary.NativeEndian.PutUint32(short, 3)
	version := event(8, 7, 42)
	version[4] = 9
	bomb := info(infoFID, handleBody(1, "x", ""))
	binary.NativeEndian.PutUint32(bomb[12:], 1<<30)
	for name, b := range map[string][]byte{
		"record longer than the bytes": long, "record shorter than its head": short, "version": version,
		"tail": append(event(8, 7, 42), 1, 2, 3), "handle length": event(8, -1, 1, bomb),
		"information of no length": event(8, -1, 1, []byte{1, 0, 0, 0}), "handle cut": event(8, -1, 1, info(infoFID, []byte{1, 2})),
	} {
		if _, err := Parse(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A descriptor in front of the defect is not lost.
	if evs, _ := Parse(append(event(8, 7, 42), 1)); len(evs) != 1 || evs[0].FD != 7 {
		t.Errorf("%+v", evs)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(event(8, 7, 42))
	f.Add(event(1<<28, -1, 43, info(infoOldDFIDName, handleBody(2, "dir1", "a")), info(infoFID, handleBody(2, "file", ""))))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		evs, _ := Parse(b)
		if len(evs) > len(b)/metadataBytes {
			t.Fatalf("%d events in %d bytes", len(evs), len(b))
		}
	})
}
