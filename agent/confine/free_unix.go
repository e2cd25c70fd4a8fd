//go:build unix

package confine

import "golang.org/x/sys/unix"

// free is what the disk of the spool has left, in bytes.
func (d *Decoder) free() (int64, bool) {
	var st unix.Statfs_t
	if d.spool == "" || unix.Statfs(d.spool, &st) != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}
