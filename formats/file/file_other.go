//go:build !unix

package file

import "io/fs"

const nonBlock = 0

func foreignLink(_, _ fs.FileInfo) bool { return false }
