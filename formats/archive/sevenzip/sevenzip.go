// Package sevenzip opens 7z archives: stored members as parts of the archive,
// LZMA, LZMA2, Deflate, BZip2 and Zstandard through a Source that unpacks a solid
// block when one of its members is first read. The format is described by
// 7zFormat.txt of the LZMA SDK.
//
// The header is read by own code, because the Go packages for it allocate what a
// header claims.
package sevenzip

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz/lzma"

	"weightwarden/formats"
	"weightwarden/formats/archive"
	"weightwarden/formats/archive/stream"
)

const (
	id          formats.ID = "7z"
	startBytes             = 32
	maxEncoded             = 8        // headers packed in headers
	dictBytes              = 1 << 30  // the largest dictionary that 7-Zip's levels use
	headerBytes            = 64 << 20 // what a packed header may unpack to
)

var signature = []byte("7z\xbc\xaf\x27\x1c")

// Container opens 7z archives.
type Container struct{}

// ID implements formats.Container.
func (Container) ID() formats.ID { return id }

// Sniff implements formats.Container: the signature within the head, since a
// program that unpacks itself may stand in front.
func (Container) Sniff(head []byte) bool { return archive.Within(head, string(signature)) }

// Open implements formats.Container.
func (Container) Open(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Members, error) {
	a := &opener{ctx: ctx, limits: limits.OrDefault()}
	a.spool = formats.SpoolOf(ctx, a.limits)
	if err := a.locate(src); err != nil {
		return nil, err
	}
	header, err := a.header()
	if err != nil {
		return nil, err
	}
	p := &parser{b: header}
	s, files := p.archive(a.limits.Members)
	if p.err != nil && len(files) == 0 {
		return nil, p.err
	}
	if p.err != nil {
		a.note("7z.header", formats.Unread, "the header is damaged: %v", p.err)
	}
	a.members(s, files)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return a.set.Members(a.findings), nil
}

type opener struct {
	ctx      context.Context
	src      formats.Source // from the signature on
	limits   formats.Limits
	spool    *formats.Spool
	set      archive.Set
	findings []formats.Finding
}

func (a *opener) note(code string, s formats.Severity, text string, args ...any) {
	if len(a.findings) < a.limits.Findings {
		a.findings = append(a.findings, formats.Finding{Code: code, Severity: s, Offset: -1, Text: fmt.Sprintf(text, args...)})
	}
}

// locate cuts off what stands in front of the signature.
func (a *opener) locate(src formats.Source) error {
	head := make([]byte, min(src.Size(), formats.HeadBytes))
	if err := formats.ReadFull(src, head, 0); err != nil {
		return &formats.Error{Format: id, Field: "signature", Offset: 0, Err: err}
	}
	at := bytes.Index(head, signature)
	if at < 0 {
		return formats.Errorf(id, "signature", 0, formats.ErrNotRecognized, "no signature")
	}
	var err error
	if a.src, err = formats.Section(src, int64(at), src.Size()-int64(at)); err != nil {
		return formats.Errorf(id, "signature", int64(at), formats.ErrTruncated, "%v", err)
	}
	if at > 0 {
		a.note("7z.prefix", formats.Info, "%d bytes stand in front of the archive", at)
	}
	return nil
}

// header returns the header in the clear.
func (a *opener) header() ([]byte, error) {
	var start [startBytes]byte
	if err := formats.ReadFull(a.src, start[:], 0); err != nil {
		return nil, &formats.Error{Format: id, Field: "start header", Offset: 0, Err: err}
	}
	if crc32.ChecksumIEEE(start[12:]) != binary.LittleEndian.Uint32(start[8:]) {
		a.note("7z.crc", formats.Warning, "the checksum of the start header is wrong")
	}
	off, n := binary.LittleEndian.Uint64(start[12:]), binary.LittleEndian.Uint64(start[20:])
	left := uint64(a.src.Size() - startBytes)
	if off > left || n > left-off {
		return nil, formats.Errorf(id, "next header", 12, formats.ErrTruncated, "%d bytes at %d of %d", n, off, left)
	}
	if n > uint64(a.limits.HeaderBytes) {
		return nil, formats.Errorf(id, "next header", 12, formats.ErrLimit, "%d bytes", n)
	}
	b := make([]byte, n)
	if err := formats.ReadFull(a.src, b, startBytes+int64(off)); err != nil {
		return nil, &formats.Error{Format: id, Field: "next header", Offset: startBytes + int64(off), Err: err}
	}
	for range maxEncoded {
		if len(b) == 0 || b[0] != idEncoded {
			return b, nil
		}
		var err error
		if b, err = a.unpackHeader(b); err != nil {
			return nil, err
		}
	}
	return nil, formats.Errorf(id, "encoded header", -1, formats.ErrLimit, "packed more than %d times", maxEncoded)
}

func (a *opener) unpackHeader(b []byte) ([]byte, error) {
	p := &parser{b: b, pos: 1}
	s := p.streamsInfo()
	if p.err != nil {
		return nil, p.err
	}
	if len(s.folders) != 1 {
		return nil, formats.Errorf(id, "encoded header", -1, formats.ErrMalformed, "%d folders", len(s.folders))
	}
	packs, ok := a.packs(s)
	if !ok {
		return nil, formats.Errorf(id, "encoded header", -1, formats.ErrTruncated, "its stream is outside of the file")
	}
	r, err := open(&s.folders[0], packs[0])
	var fe *formats.Error
	if err != nil && !errors.As(err, &fe) {
		err = formats.Errorf(id, "encoded header", -1, formats.ErrMalformed, "%v", err)
	}
	if err != nil {
		return nil, err
	}
	most := min(headerBytes, a.limits.HeaderBytes, s.folders[0].size())
	out, err := io.ReadAll(io.LimitReader(r, most))
	if err != nil {
		return nil, formats.Errorf(id, "encoded header", -1, formats.ErrMalformed, "%v", err)
	}
	return out, nil
}

// packs returns the packed streams, as far as they are in the file; ok is false
// where the first is not.
func (a *opener) packs(s streams) (out []formats.Source, ok bool) {
	off := int64(startBytes)
	if s.packPos > a.src.Size() {
		return nil, false
	}
	off += s.packPos
	for _, n := range s.packSizes {
		part, err := formats.Section(a.src, off, min(n, max(a.src.Size()-off, 0)))
		if err != nil {
			break
		}
		out, off = append(out, part), off+min(n, a.src.Size())
	}
	return out, len(out) > 0
}

// archive reads a whole header.
func (p *parser) archive(members int) (s streams, files []file) {
	if p.u8() != idHeader {
		p.fail("no header")
	}
	for p.err == nil {
		switch t := p.u8(); t {
		case idEnd:
			return s, files
		case idArchiveProps:
			for p.err == nil && p.u8() != idEnd {
				p.bytes(p.count())
			}
		case idMoreStreams:
			p.streamsInfo()
		case idStreams:
			s = p.streamsInfo()
		case idFiles:
			files = p.filesInfo(members)
		default:
			p.fail("property %#x", t)
		}
	}
	return s, files
}

// members hands the streams of all folders to the files that have one, in order.
func (a *opener) members(s streams, files []file) {
	packs, _ := a.packs(s)
	with := make([]string, 0, len(files))
	for _, f := range files {
		if !f.empty {
			with = append(with, f.name)
		}
	}
	pack := 0
	for i := range s.folders {
		f := &s.folders[i]
		var block formats.Source
		if pack < len(packs) {
			block = a.block(f, packs[pack], i)
		}
		pack += f.packed
		off := int64(0)
		for _, n := range f.streams {
			if len(with) == 0 {
				a.note("7z.names", formats.Unread, "there are more streams than names")
				return
			}
			name := with[0]
			with = with[1:]
			if !a.spool.Member() {
				a.note("7z.limit", formats.Unread, "more members than allowed")
				return
			}
			if block == nil {
				a.note("7z.member", formats.Unread, "member %.200q cannot be unpacked: its coders are not known, it is encrypted, or its data is missing", name)
			} else {
				a.set.Add(name, archive.NewPart(block, off, n))
			}
			off += n
		}
	}
}

// block is what a folder unpacks to, nil where that cannot be had.
func (a *opener) block(f *folder, packed formats.Source, number int) formats.Source {
	if len(f.order) == 0 || f.packed != 1 {
		return nil
	}
	stored := true
	for _, c := range f.coders {
		if !known(c.id) {
			return nil
		}
		stored = stored && c.id == coderCopy
	}
	if stored {
		return packed
	}
	return archive.NewUnpacked(a.ctx, archive.Stream{Format: id, Name: fmt.Sprintf("block %d", number), Packed: packed.Size(),
		Open: func() (io.Reader, error) { return open(f, packed) }}, a.limits)
}

// Coders of 7zFormat.txt and Methods.txt.
const (
	coderCopy    = 0x00
	coderDelta   = 0x03
	coderX86     = 0x04
	coderOldX86  = 0x03030103
	coderLZMA2   = 0x21
	coderLZMA    = 0x030101
	coderDeflate = 0x040108
	coderBzip2   = 0x040202
	coderZstd    = 0x04f71101
)

func known(coder uint64) bool {
	switch coder {
	case coderCopy, coderDelta, coderX86, coderOldX86, coderLZMA2, coderLZMA, coderDeflate, coderBzip2, coderZstd:
		return true
	}
	return false
}

// open unpacks a folder.
func open(f *folder, packed formats.Source) (io.Reader, error) {
	if len(f.order) == 0 {
		return nil, formats.Errorf(id, "folder", -1, formats.ErrUnsupported, "coders of several streams")
	}
	r := io.Reader(io.NewSectionReader(packed, 0, packed.Size()))
	for _, i := range f.order {
		var err error
		if r, err = openCoder(r, f.coders[i], f.sizes[i]); err != nil {
			return nil, err
		}
	}
	return io.LimitReader(r, f.size()), nil
}

func openCoder(r io.Reader, c coder, size int64) (io.Reader, error) {
	switch c.id {
	case coderCopy:
		return r, nil
	case coderDelta:
		if len(c.props) < 1 {
			return nil, formats.Errorf(id, "Delta properties", -1, formats.ErrMalformed, "none")
		}
		return &deltaReader{r: r, distance: int(c.props[0]) + 1}, nil
	case coderX86, coderOldX86:
		return newX86Reader(r), nil
	case coderLZMA:
		if len(c.props) < 5 || binary.LittleEndian.Uint32(c.props[1:]) > dictBytes {
			return nil, formats.Errorf(id, "LZMA properties", -1, formats.ErrLimit, "dictionary")
		}
		header := binary.LittleEndian.AppendUint64(bytes.Clone(c.props[:5]), uint64(size))
		return lzma.ReaderConfig{DictCap: dictBytes}.NewReader(stream.Buffered(io.MultiReader(bytes.NewReader(header), r)))
	case coderLZMA2:
		if len(c.props) < 1 || c.props[0] > 36 { // 1 GiB
			return nil, formats.Errorf(id, "LZMA2 properties", -1, formats.ErrLimit, "dictionary")
		}
		dict := (2 | int(c.props[0])&1) << (c.props[0]/2 + 11)
		dict = int(max(lzma.MinDictCap, min(int64(dict), size))) // more is never looked back at
		return lzma.Reader2Config{DictCap: dict}.NewReader2(stream.Buffered(r))
	case coderDeflate:
		return flate.NewReader(stream.Buffered(r)), nil
	case coderBzip2:
		return stream.Bzip2().Reader(r)
	case coderZstd:
		return stream.Zstd().Reader(r)
	}
	return nil, formats.Errorf(id, "coder", -1, formats.ErrUnsupported, "%#x", c.id)
}

// deltaReader adds to every byte the one distance before it.
type deltaReader struct {
	r        io.Reader
	distance int
	history  [256]byte
	at       byte
}

// Read implements io.Reader.
func (d *deltaReader) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	for i := range p[:n] {
		p[i] += d.history[d.at-byte(d.distance)]
		d.history[d.at] = p[i]
		d.at++
	}
	return n, err
}
