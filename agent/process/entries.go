package process

import (
	"iter"
	"os"
)

// Entries gives the names in a folder of /proc, read in steps: a process may have a million descriptors. A folder that
// is gone, or not ours to read, has none.
func Entries(dir string) iter.Seq[string] {
	return func(yield func(string) bool) {
		d, err := os.Open(dir)
		if err != nil {
			return
		}
		defer d.Close()
		for {
			names, err := d.Readdirnames(1 << 12)
			for _, n := range names {
				if !yield(n) {
					return
				}
			}
			if err != nil || len(names) == 0 {
				return
			}
		}
	}
}
