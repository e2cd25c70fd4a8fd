package process

import (
	"os"

	"golang.org/x/sys/unix"
)

func keyOf(f *os.File) (programKey, bool) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return programKey{}, false
	}
	return programKey{FileID{uint64(st.Dev), st.Ino}, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}, true
}
