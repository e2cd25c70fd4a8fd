package onnx

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"weightwarden/formats"
)

// segment is a piece of typed data: numbers one after the other, or, where tag is
// not 0, numbers with a field tag of that many bytes between them.
type segment struct {
	offset, length int64
	tag            int
}

// maxScan bounds the bytes of numbers of variable length that are counted in one
// file. Their count is not in the file, so that they have to be looked at.
const maxScan = 512 << 20

// markEvery is how many numbers lie between two places that are remembered.
const markEvery = 1 << 14

// typed places a tensor whose data are numbers in a field of their own.
func (p *parser) typed(out *formats.Tensor, dt dataType, size int64, fits bool) {
	t := &p.t
	opaque := func(why string) {
		largest := slices.MaxFunc(t.segments, func(a, b segment) int { return int(min(max(a.length-b.length, -1), 1)) })
		p.find("typed", formats.Unread, t.at, "tensor %.200q: %s; its %d bytes are taken as they are", t.name, why, largest.length)
		out.DType, out.Shape = formats.Unknown, []int64{largest.length}
		out.Data = formats.Extent{Source: p.src, Offset: largest.offset, Length: largest.length}
	}
	switch {
	case t.mixed:
		opaque("the data comes in several fields or too many pieces")
		return
	case !fits || t.field != dt.field:
		opaque(fmt.Sprintf("field %d does not suit data type %d", t.field, t.dtype))
		return
	}
	r := &repacked{src: p.src, segments: slices.Clone(t.segments), width: dt.bytes,
		varint: t.field != floatData && t.field != doubleData}
	if !r.varint {
		if first := t.segments[0]; len(t.segments) == 1 && (first.tag == 0 || first.length == dt.bytes) {
			out.Data = formats.Extent{Source: p.src, Offset: first.offset, Length: first.length}
			return
		}
		if t.field == doubleData {
			r.width = 8
		} else {
			r.width = 4
		}
	}
	var total int64
	for _, s := range t.segments {
		total += s.length
	}
	if r.varint {
		if p.scanLeft -= total; p.scanLeft < 0 {
			opaque(fmt.Sprintf("over %d bytes of numbers of variable length", int64(maxScan)))
			return
		}
	}
	if err := r.index(p.ctx.Err); err != nil {
		opaque(err.Error())
		return
	}
	out.Data = formats.Extent{Source: r, Length: r.size}
}

// repacked is the Source of typed data: its numbers as little-endian elements.
type repacked struct {
	src      formats.Source
	segments []segment
	width    int64 // bytes that a number stands for
	varint   bool
	size     int64
	marks    []mark // of every markEvery-th number, or of every segment
}

// mark is where the bytes from at on come from.
type mark struct {
	at      int64 // in the repacked bytes
	segment int
	offset  int64 // in the file
}

// Size implements formats.Source.
func (r *repacked) Size() int64 { return r.size }

// index counts the numbers and remembers where some of them are.
func (r *repacked) index(stopped func() error) error {
	for i, s := range r.segments {
		r.marks = append(r.marks, mark{r.size, i, s.offset})
		if !r.varint {
			n := (s.length + int64(s.tag)) / (r.width + int64(s.tag))
			if n*(r.width+int64(s.tag))-int64(s.tag) != s.length {
				return fmt.Errorf("%w: a piece of %d bytes is no row of numbers", formats.ErrMalformed, s.length)
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
func (r *repacked) scan(i int, stopped func() error) error {
	s := r.segments[i]
	buf := make([]byte, min(64<<10, s.length))
	skip, values, whole := 0, int64(0), true
	for off := s.offset; off < s.offset+s.length; off += int64(len(buf)) {
		if err := stopped(); err != nil {
			return err
		}
		buf = buf[:min(int64(len(buf)), s.offset+s.length-off)]
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
				skip = s.tag
				if values%markEvery == 0 {
					r.marks = append(r.marks, mark{r.size + values*r.width, i, off + int64(j) + 1 + int64(s.tag)})
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
func (r *repacked) ReadAt(p []byte, off int64) (int, error) {
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
func (r *repacked) stretch(p []byte, m mark, at, end int64) (int, error) {
	s := r.segments[m.segment]
	if !r.varint {
		if s.tag == 0 {
			return len(p), formats.ReadFull(r.src, p, m.offset+at-m.at)
		}
		first := (at - m.at) / r.width
		m.offset += first * (r.width + int64(s.tag))
		m.at += first * r.width
	}
	v := values{src: r.src, off: m.offset, end: s.offset + s.length, tag: s.tag}
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
