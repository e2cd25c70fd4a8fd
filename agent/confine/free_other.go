//go:build !unix

package confine

// free is not known on this system.
func (d *Decoder) free() (int64, bool) { return 0, false }
