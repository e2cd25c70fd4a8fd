//go:build !linux

package destination

import "os"

// Origin is not known on this system.
func Origin(*os.File) (string, bool) { return "", false }
