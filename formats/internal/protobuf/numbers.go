package protobuf

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"weightwarden/formats"
)

// Piece is a part of a repeated field of numbers: packed ones that follow each
// other, or, where Tag is not 0, numbers with a field tag of that many bytes
// between them.
type Piece struct {
	Offset, Length int64
	Tag            int
}

// maxPieces bounds the pieces in which the numbers of one field may come.
const maxPieces = 4096

// Append adds a piece; false says that there are too many. Numbers that stand
// alone, each behind its tag, make one piece as long as they follow each other.
func Append(pieces []Piece, s Piece) ([]Piece, bool) {
	if n := len(pieces); n > 0 && s.Tag > 0 {
		if last := &pieces[n-1]; last.Tag == s.Tag && last.Offset+last.Length+int64(s.Tag) == s.Offset {
			last.Length += int64(s.Tag) + s.Length
			return pieces, true
		}
	}
	if len(pieces) == maxPieces {
		return pieces, false
	}
	return append(pieces, s), true
}

// Length is how many bytes of the file the pieces take.
func Length(pieces []Piece) int64 {
	var total int64
	for _, s := range pieces {
		total += s.Length
	}
	return total
}

// markEvery is how many numbers lie between two places that are remembered.
const markEvery = 1 << 14

// Numbers is the Source of typed data: its numbers as little-endian elements.
type Numbers struct {
	src    formats.Source
	pieces []Piece
	width  int64 // bytes that a number stands for
	varint bool
	size   int64
	marks  []mark // of every markEvery-th number, or of every segment
}

// mark is where the bytes from at on come from.
type mark struct {
	at     int64 // in the repacked bytes
	piece  int
	offset int64 // in the file
}

// NewNumbers returns the numbers in pieces of src as elements of width bytes each:
// varint says that they are of variable length, which are counted by reading them,
// else they are of width bytes in the file too. stopped ends the counting early.
func NewNumbers(stopped func() error, src formats.Source, pieces []Piece, width int64, varint bool) (*Numbers, error) {
	r := &Numbers{src: src, pieces: pieces, width: width, varint: varint}
	if err := r.index(stopped); err != nil {
		return nil, err
	}
	return r, nil
}

// Size implements formats.Source.
func (r *Numbers) Size() int64 { return r.size }

// index counts the numbers and remembers where some of them are.
func (r *Numbers) index(stopped func() error) error {
	for i, s := range r.pieces {
		r.marks = append(r.marks, mark{r.size, i, s.Offset})
		if !r.varint {
			n := (s.Length + int64(s.Tag)) / (r.width + int64(s.Tag))
			if n*(r.width+int64(s.Tag))-int64(s.Tag) != s.Length {
				return fmt.Errorf("%w: a piece of %d bytes is no row of numbers", formats.ErrMalformed, s.Length)
			}
			r.size += n * r.width
			continue
		}
		if err := r.scan(i, stopped); err != nil {
			return err
		}
	}
	return nil
}

// scan counts the numbers of variable length in one segment.
func (r *Numbers) scan(i int, stopped func() error) error {
	s := r.pieces[i]
	buf := make([]byte, min(64<<10, s.Length))
	skip, values, whole := 0, int64(0), true
	for off := s.Offset; off < s.Offset+s.Length; off += int64(len(buf)) {
		if err := stopped(); err != nil {
			return err
		}
		buf = buf[:min(int64(len(buf)), s.Offset+s.Length-off)]
		if err := formats.ReadFull(r.src, buf, off); err != nil {
			return err
		}
		for j, b := range buf {
			if skip > 0 {
				skip--
				continue
			}
			if whole = b < 0x80; whole {
				values++
				skip = s.Tag
				if values%markEvery == 0 {
					r.marks = append(r.marks, mark{r.size + values*r.width, i, off + int64(j) + 1 + int64(s.Tag)})
				}
			}
		}
	}
	if !whole {
		return fmt.Errorf("%w: the last number has no end", formats.ErrTruncated)
	}
	r.size += values * r.width
	return nil
}

// ReadAt implements io.ReaderAt.
func (r *Numbers) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	done := 0
	for done < len(p) {
		at := off + int64(done)
		if at >= r.size {
			return done, io.EOF
		}
		i, found := slices.BinarySearchFunc(r.marks, at, func(m mark, at int64) int {
			return int(min(max(m.at-at, -1), 1))
		})
		if !found {
			i--
		}
		// Of segments without numbers several marks have one place: take the last.
		for i+1 < len(r.marks) && r.marks[i+1].at <= at {
			i++
		}
		end := r.size
		if i+1 < len(r.marks) {
			end = r.marks[i+1].at
		}
		n, err := r.stretch(p[done:min(len(p), done+int(min(end-at, int64(len(p)))))], r.marks[i], at, end)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// stretch fills p with the bytes from at on, which lie between the mark m and end.
func (r *Numbers) stretch(p []byte, m mark, at, end int64) (int, error) {
	s := r.pieces[m.piece]
	if !r.varint {
		if s.Tag == 0 {
			return len(p), formats.ReadFull(r.src, p, m.offset+at-m.at)
		}
		first := (at - m.at) / r.width
		m.offset += first * (r.width + int64(s.Tag))
		m.at += first * r.width
	}
	v := values{src: r.src, off: m.offset, end: s.Offset + s.Length, tag: s.Tag}
	var word [8]byte
	done := 0
	for done < len(p) {
		var err error
		if r.varint {
			err = v.varint(&word)
		} else {
			err = v.fixed(word[:r.width])
		}
		if err != nil {
			return done, err
		}
		if from := at + int64(done) - m.at; from < r.width {
			done += copy(p[done:], word[from:r.width])
		}
		m.at += r.width
	}
	return done, nil
}

// values reads numbers one after the other.
type values struct {
	src      formats.Source
	off, end int64
	tag      int
	buf      []byte
	store    [4 << 10]byte
}

func (v *values) byte() (byte, error) {
	if len(v.buf) == 0 {
		n := min(v.end-v.off, int64(len(v.store)))
		if n <= 0 {
			return 0, fmt.Errorf("%w: too few numbers", formats.ErrTruncated)
		}
		if err := formats.ReadFull(v.src, v.store[:n], v.off); err != nil {
			return 0, err
		}
		v.buf, v.off = v.store[:n], v.off+n
	}
	b := v.buf[0]
	v.buf = v.buf[1:]
	return b, nil
}

func (v *values) skipTag() {
	for range v.tag {
		if _, err := v.byte(); err != nil {
			return // the last number has no tag behind it
		}
	}
}

func (v *values) varint(word *[8]byte) error {
	var x uint64
	for shift := 0; ; shift += 7 {
		b, err := v.byte()
		if err != nil {
			return err
		}
		if shift < 64 {
			x |= uint64(b&0x7f) << shift
		}
		if b < 0x80 {
			break
		}
	}
	for i := range word {
		word[i] = byte(x >> (8 * i))
	}
	v.skipTag()
	return nil
}

func (v *values) fixed(word []byte) error {
	for i := range word {
		b, err := v.byte()
		if err != nil {
			return err
		}
		word[i] = b
	}
	v.skipTag()
	return nil
}
