package destination

import (
	"os"

	"golang.org/x/sys/unix"
)

// Origin is the address that a file was downloaded from, as browsers, curl --xattr
// and wget --xattr note it on the file (freedesktop.org, "Common Extended
// Attributes"). Whoever owns the file can write anything there: it is a hint.
func Origin(f *os.File) (string, bool) {
	raw, err := f.SyscallConn()
	if err != nil {
		return "", false
	}
	b := make([]byte, 4096)
	n := -1
	_ = raw.Control(func(fd uintptr) {
		for _, name := range []string{"user.xdg.origin.url", "user.xdg.referrer.url"} {
			if n, err = unix.Fgetxattr(int(fd), name, b); err == nil {
				return
			}
		}
	})
	if err != nil || n <= 0 {
		return "", false
	}
	return cleanOrigin(string(b[:n]))
}
