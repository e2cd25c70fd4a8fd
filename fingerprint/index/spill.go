package index

import (
	"errors"
	"io"
	"os"
)

const (
	// leastSpilled is the size from which a segment is worth a place in a file, in bytes.
	leastSpilled = 1 << 20
	spillUnit    = 64 << 10 // of places in the file: a multiple of every page size
)

// Spill joins small segments, and moves those that lie in memory to the end of a file from where they are mapped, so
// that a registry can be made that is larger than memory. The file is for this use only and may be closed, and
// removed, before the registry.
func (db *DB) Spill(f *os.File) error {
	if err := db.compact(); err != nil {
		return err
	}
	for i, s := range db.segments {
		if s.mapped || len(s.raw) < leastSpilled {
			continue
		}
		at, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		at = (at + spillUnit - 1) / spillUnit * spillUnit
		if _, err := f.WriteAt(s.raw, at); err != nil {
			return err
		}
		b, unmap, err := mapFile(f, at, len(s.raw))
		if err != nil {
			return err
		}
		moved, err := decodeSegment(b)
		if err != nil {
			return errors.Join(err, unmap())
		}
		moved.mapped = true
		db.segments[i], db.mapped = moved, append(db.mapped, unmap)
	}
	return nil
}
