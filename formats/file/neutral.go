package file

// LeaveCache makes reading leave the system's page cache as it found it, where the
// system can do so (Linux): what was cached stays, what was not is dropped once it
// has been read. For programs that read much beside a job whose own files should
// stay in memory. Call it before the first read.
func (f *File) LeaveCache() { f.neutral = newNeutral(f.f) }

// reader reads at an offset like io.ReaderAt.
type reader interface {
	readAt(p []byte, off int64) (int, error)
}
