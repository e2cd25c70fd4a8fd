// Package joined makes one Source of the ends of several: shards that cut through
// tensors, chunks of a data set.
package joined

import (
	"errors"
	"io"
	"slices"

	"weightwarden/formats"
)

// Source is several sources one after the other.
type Source struct {
	parts []formats.Source
	ends  []int64
}

// New returns the parts as one Source.
func New(parts ...formats.Source) *Source {
	s := &Source{parts: parts}
	var end int64
	for _, p := range parts {
		end += p.Size()
		s.ends = append(s.ends, end)
	}
	return s
}

// Size implements formats.Source.
func (s *Source) Size() int64 {
	if len(s.ends) == 0 {
		return 0
	}
	return s.ends[len(s.ends)-1]
}

// ReadAt implements io.ReaderAt.
func (s *Source) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	done := 0
	for done < len(p) {
		at := off + int64(done)
		i, found := slices.BinarySearch(s.ends, at)
		for found && i < len(s.ends) && s.ends[i] <= at {
			i++ // the byte at an end is the first of the next part that has any
		}
		if i == len(s.ends) {
			return done, io.EOF
		}
		start := s.ends[i] - s.parts[i].Size()
		n := int(min(int64(len(p)-done), s.ends[i]-at))
		if err := formats.ReadFull(s.parts[i], p[done:done+n], at-start); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}
