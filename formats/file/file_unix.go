//go:build unix

package file

import (
	"io/fs"
	"syscall"
)

// nonBlock keeps the opening of a pipe from waiting for its other end.
const nonBlock = syscall.O_NONBLOCK

// foreignLink reports whether file has a second name and another owner than the
// model: the hard-link way of pointing a privileged reader at somebody's file.
func foreignLink(model, file fs.FileInfo) bool {
	m, ok1 := model.Sys().(*syscall.Stat_t)
	s, ok2 := file.Sys().(*syscall.Stat_t)
	return ok1 && ok2 && s.Nlink > 1 && s.Uid != m.Uid
}
