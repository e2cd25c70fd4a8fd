package watch

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The parts of include/uapi/linux/io_uring.h that one write needs.
const (
	uringOpWrite    = 23
	uringGetEvents  = 1
	uringOffSQEs    = 0x10000000
	uringSQEBytes   = 64
	uringParamBytes = 120
)

// uringWrite writes the copy by one request of io_uring: no write call is made.
func uringWrite(src, dir string) error {
	data, err := wayData(src)
	if err != nil {
		return err
	}
	out, err := os.Create(dir + "/copy")
	if err != nil {
		return err
	}
	defer out.Close()
	params := make([]byte, uringParamBytes)
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params[0])), 0)
	if errno == unix.EPERM {
		return unix.ENOSYS // switched off on this machine
	}
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(ring))
	field := func(i int) int { return int(binary.NativeEndian.Uint32(params[4*i:])) }
	// struct io_sqring_offsets begins at word 10: head, tail, ring_mask, ring_entries,
	// flags, dropped, array.
	tail, array := field(11), field(16)
	sq, err := unix.Mmap(int(ring), 0, array+4, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	sqe, err := unix.Mmap(int(ring), uringOffSQEs, uringSQEBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	sqe[0] = uringOpWrite
	binary.NativeEndian.PutUint32(sqe[4:], uint32(out.Fd()))
	binary.NativeEndian.PutUint64(sqe[16:], uint64(uintptr(unsafe.Pointer(&data[0]))))
	binary.NativeEndian.PutUint32(sqe[24:], uint32(len(data)))
	binary.NativeEndian.PutUint32(sq[array:], 0)
	binary.NativeEndian.PutUint32(sq[tail:], 1)
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, ring, 1, 1, uringGetEvents, 0, 0); errno != 0 {
		return errno
	}
	if info, err := out.Stat(); err != nil || info.Size() != int64(len(data)) {
		return fmt.Errorf("io_uring wrote %v, %w", info, err)
	}
	return nil
}
