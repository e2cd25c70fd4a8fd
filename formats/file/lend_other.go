//go:build !linux

package file

// Lend implements formats.Lender: nothing is lent here.
func (f *File) Lend(int64, int64, func(data []byte) error) (bool, error) { return false, nil }
