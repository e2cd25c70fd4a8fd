// Package tar opens tar archives of every dialect that Go's archive/tar reads.
// Members are parts of the archive, unless they are sparse.
package tar

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"weightwarden/formats"
	"weightwarden/formats/archive"
)

const (
	id         formats.ID = "tar"
	blockBytes            = 512
)

// Container opens tar archives.
type Container struct{}

// ID implements formats.Container.
func (Container) ID() formats.ID { return id }

// Sniff implements formats.Container: the first header has a right checksum, or
// the ustar magic where the checksum is wrong.
func (Container) Sniff(head []byte) bool {
	if len(head) < blockBytes {
		return false
	}
	return headerSum(head[:blockBytes]) || bytes.Equal(head[257:262], []byte("ustar"))
}

// headerSum compares the checksum of a header block. Version 7 archives have no
// other mark.
func headerSum(b []byte) bool {
	field := bytes.Trim(b[148:156], " \x00")
	want, err := strconv.ParseInt(string(field), 8, 64)
	if err != nil || want == 0 {
		return false
	}
	var unsigned, signed int64
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return want == unsigned || want == signed
}

// Open implements formats.Container.
func (Container) Open(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Members, error) {
	limits = limits.OrDefault()
	o := &opener{ctx: ctx, src: src, limits: limits, spool: formats.SpoolOf(ctx, limits)}
	pos, size := int64(0), src.Size()
	for pos < size {
		next, err := o.archive(pos)
		if err != nil {
			return nil, err
		}
		if next = o.resume(next); next < 0 || next <= pos {
			break
		}
		pos = next
	}
	if o.set.Len() == 0 && len(o.findings) == 0 {
		return nil, formats.Errorf(id, "header", 0, formats.ErrNotRecognized, "no member")
	}
	return o.set.Members(o.findings), nil
}

type opener struct {
	ctx      context.Context
	src      formats.Source
	limits   formats.Limits
	spool    *formats.Spool
	set      archive.Set
	findings []formats.Finding
}

func (o *opener) note(code string, off int64, text string, args ...any) {
	if len(o.findings) < o.limits.Findings {
		o.findings = append(o.findings, formats.Finding{Code: code, Severity: formats.Unread, Offset: off, Text: fmt.Sprintf(text, args...)})
	}
}

// archive adds the members of the archive that starts at pos, and returns where
// reading stopped. The error is that of the context only.
func (o *opener) archive(pos int64) (int64, error) {
	at := &position{o.src, pos}
	r := tar.NewReader(at)
	for {
		if err := o.ctx.Err(); err != nil {
			return 0, err
		}
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return at.off, nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			if at.off > pos {
				o.note("tar.header", at.off, "the archive is damaged here: %.200q", err.Error())
			}
			return at.off, nil
		}
		if !o.spool.Member() {
			o.note("tar.limit", at.off, "more members than allowed")
			return o.src.Size(), nil
		}
		o.member(r, h, at.off)
	}
}

// member adds one regular file. data is the offset behind its header.
func (o *opener) member(r *tar.Reader, h *tar.Header, data int64) {
	switch {
	case h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse && h.Typeflag != '7':
		return
	case h.Typeflag == tar.TypeGNUSparse || h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.map"] != "":
		o.sparse(r, h)
		return
	}
	size := h.Size
	if left := o.src.Size() - data; size > left {
		o.note("tar.truncated", data, "member %.200q says %d bytes, %d are left", h.Name, size, max(left, 0))
		size = max(left, 0)
	}
	m, err := formats.Section(o.src, data, size)
	if err != nil {
		o.note("tar.member", data, "member %.200q: %v", h.Name, err)
		return
	}
	o.set.Add(h.Name, m)
}

// sparse unpacks a member with holes.
func (o *opener) sparse(r *tar.Reader, h *tar.Header) {
	m, err := o.spool.Unpack(o.ctx, r, min(h.Size, o.limits.InflatedBytes))
	if err != nil {
		o.note("tar.sparse", -1, "sparse member %.200q was unpacked up to byte %d only: %v", h.Name, m.Size(), err)
	}
	o.set.Add(h.Name, m)
}

// resume returns the next offset at or behind off where a header starts: behind
// a damaged one, or in a second archive. It returns -1 where there is none
// within reach.
func (o *opener) resume(off int64) int64 {
	const reach = 4 << 20
	off = (off + blockBytes - 1) / blockBytes * blockBytes
	buf := make([]byte, 64<<10)
	for end := min(o.src.Size(), off+reach); off+blockBytes <= end; {
		n := min(int64(len(buf)), (end-off)/blockBytes*blockBytes)
		if o.ctx.Err() != nil || formats.ReadFull(o.src, buf[:n], off) != nil {
			return -1
		}
		for i := int64(0); i < n; i += blockBytes {
			if headerSum(buf[i : i+blockBytes]) {
				return off + i
			}
		}
		off += n
	}
	return -1
}

// position is a Source read forward. It can seek, so that tar skips contents.
type position struct {
	src formats.Source
	off int64
}

// Read implements io.Reader.
func (p *position) Read(b []byte) (int, error) {
	n, err := p.src.ReadAt(b, p.off)
	p.off += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// Seek implements io.Seeker.
func (p *position) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		off += p.off
	default:
		off += p.src.Size()
	}
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	p.off = off
	return off, nil
}
