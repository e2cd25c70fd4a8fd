package sevenzip

import (
	"encoding/binary"
	"unicode/utf16"

	"weightwarden/formats"
)

// Property ids of 7zFormat.txt.
const (
	idEnd          = 0x00
	idHeader       = 0x01
	idArchiveProps = 0x02
	idMoreStreams  = 0x03
	idStreams      = 0x04
	idFiles        = 0x05
	idPack         = 0x06
	idUnpack       = 0x07
	idSubStreams   = 0x08
	idSize         = 0x09
	idCRC          = 0x0a
	idFolder       = 0x0b
	idUnpackSize   = 0x0c
	idStreamCount  = 0x0d
	idEmptyStream  = 0x0e
	idEmptyFile    = 0x0f
	idNames        = 0x11
	idEncoded      = 0x17
)

// coder is one step of unpacking.
type coder struct {
	id    uint64
	props []byte
}

// folder is a chain of coders and what comes out of it. order is empty where the
// coders are no plain chain.
type folder struct {
	coders  []coder
	order   []int // of coders, the one that reads the archive first
	packed  int   // number of packed streams
	sizes   []int64
	mainOut int // output that nothing consumes
	streams []int64
	checked bool // has a checksum of its own
}

// size is what the folder unpacks to.
func (f *folder) size() int64 { return f.sizes[f.mainOut] }

// streams is a StreamsInfo.
type streams struct {
	packPos   int64
	packSizes []int64
	folders   []folder
}

// file is one entry of FilesInfo.
type file struct {
	name  string
	empty bool // has no stream: a folder or a file without bytes
}

// parser reads a header that is in memory. The first error sticks; every count
// is held against the bytes that remain, since each item takes at least one.
type parser struct {
	b   []byte
	pos int
	err error
}

func (p *parser) fail(text string, args ...any) {
	if p.err == nil {
		p.err = formats.Errorf(id, "header", int64(p.pos), formats.ErrMalformed, text, args...)
	}
}

func (p *parser) left() int { return len(p.b) - p.pos }

func (p *parser) u8() byte {
	if p.err != nil || p.left() < 1 {
		p.fail("ends early")
		return 0
	}
	p.pos++
	return p.b[p.pos-1]
}

func (p *parser) bytes(n int) []byte {
	if p.err != nil || n < 0 || n > p.left() {
		p.fail("%d bytes wanted, %d left", n, p.left())
		return nil
	}
	p.pos += n
	return p.b[p.pos-n : p.pos]
}

// number reads 7z's variable-length integer: the leading ones of the first byte
// count the bytes that follow.
func (p *parser) number() int64 {
	first := p.u8()
	var v uint64
	mask := byte(0x80)
	for i := range 8 {
		if first&mask == 0 {
			v |= uint64(first&(mask-1)) << (8 * i)
			break
		}
		v |= uint64(p.u8()) << (8 * i)
		mask >>= 1
	}
	if v > 1<<62 {
		p.fail("number %d", v)
		return 0
	}
	return int64(v)
}

// count reads a number of items that take at least one byte each.
func (p *parser) count() int {
	n := p.number()
	if n > int64(p.left())+1 {
		p.fail("%d items, %d bytes left", n, p.left())
		return 0
	}
	return int(n)
}

// bits reads n bits, the highest of each byte first.
func (p *parser) bits(n int) []bool {
	raw := p.bytes((n + 7) / 8)
	if p.err != nil {
		return nil
	}
	out := make([]bool, n)
	for i := range out {
		out[i] = raw[i/8]&(0x80>>(i%8)) != 0
	}
	return out
}

// digests skips checksums of n streams and returns which are there.
func (p *parser) digests(n int) []bool {
	if n > 8*p.left()+8 {
		p.fail("%d checksums", n)
		return nil
	}
	var defined []bool
	if p.u8() == 0 {
		defined = p.bits(n)
	} else {
		if n > p.left()/4 {
			p.fail("%d checksums", n)
			return nil
		}
		defined = make([]bool, n)
		for i := range defined {
			defined[i] = true
		}
	}
	for _, d := range defined {
		if d {
			p.bytes(4)
		}
	}
	return defined
}

// streamsInfo reads a StreamsInfo behind its id.
func (p *parser) streamsInfo() streams {
	var s streams
	for p.err == nil {
		switch t := p.u8(); t {
		case idEnd:
			return s
		case idPack:
			p.packInfo(&s)
		case idUnpack:
			p.unpackInfo(&s)
		case idSubStreams:
			p.subStreams(&s)
		default:
			p.fail("property %#x in streams", t)
		}
	}
	return s
}

func (p *parser) packInfo(s *streams) {
	s.packPos = p.number()
	n := p.count()
	for p.err == nil {
		switch t := p.u8(); t {
		case idEnd:
			return
		case idSize:
			s.packSizes = p.numbers(n)
		case idCRC:
			p.digests(n)
		default:
			p.fail("property %#x in pack info", t)
		}
	}
}

func (p *parser) numbers(n int) []int64 {
	if n > p.left() {
		p.fail("%d numbers, %d bytes left", n, p.left())
		return nil
	}
	out := make([]int64, n)
	for i := range out {
		out[i] = p.number()
	}
	return out
}

// filesInfo reads names and which files have no stream.
func (p *parser) filesInfo(members int) []file {
	n := p.count()
	if n > members {
		p.fail("%d files", n)
		return nil
	}
	files := make([]file, n)
	for p.err == nil {
		t := p.u8()
		if t == idEnd {
			return files
		}
		size := p.number()
		if size > int64(p.left()) {
			p.fail("property of %d bytes, %d left", size, p.left())
			return nil
		}
		part := &parser{b: p.bytes(int(size))}
		switch t {
		case idEmptyStream:
			for i, empty := range part.bits(n) {
				files[i].empty = empty
			}
		case idNames:
			part.names(files)
		}
		if part.err != nil {
			p.fail("property %#x is broken", t)
		}
	}
	return nil
}

func (p *parser) names(files []file) {
	if p.u8() != 0 {
		p.fail("names in another stream")
		return
	}
	for i := range files {
		var name []uint16
		for {
			b := p.bytes(2)
			if p.err != nil {
				return
			}
			c := binary.LittleEndian.Uint16(b)
			if c == 0 {
				break
			}
			name = append(name, c)
		}
		files[i].name = string(utf16.Decode(name))
	}
}
