//go:build !linux

package scan

import (
	"hash/fnv"
	"os"

	"weightwarden/agent/process"
	"weightwarden/agent/state"
)

// Stat describes an open file. Without inodes the path stands for the identity.
func Stat(f *os.File) (Info, error) {
	st, err := f.Stat()
	if err != nil {
		return Info{}, err
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(f.Name())) // a hash never fails
	id := h.Sum64()
	return Info{
		Regular: st.Mode().IsRegular(),
		Stamp:   state.Stamp{Size: st.Size(), Mtime: st.ModTime().UnixNano(), Ctime: st.ModTime().UnixNano()},
		UID:     -1, Links: 1,
		ID:  process.FileID{Inode: id},
		Key: state.Key{Inode: id},
	}, nil
}

// OpenFile opens a file for reading.
func OpenFile(path string) (*os.File, error) { return os.Open(path) }

func writers(*os.File) writerState { return writersUnknown }

func currentPath(f *os.File) (path string, deleted bool) {
	_, err := os.Lstat(f.Name())
	return f.Name(), os.IsNotExist(err)
}

// duplicate opens the file again: not every system shares descriptors.
func duplicate(f *os.File) (*os.File, error) { return os.Open(f.Name()) }
