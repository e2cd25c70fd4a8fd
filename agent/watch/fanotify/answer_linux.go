package fanotify

import "encoding/binary"

// putNative writes struct fanotify_response.
func putNative(b []byte, fd, response uint32) {
	binary.NativeEndian.PutUint32(b, fd)
	binary.NativeEndian.PutUint32(b[4:], response)
}
