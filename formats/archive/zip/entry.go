package zip

import (
	"encoding/binary"
	"strings"

	"weightwarden/formats"
)

// Signatures and fixed sizes of PKWARE's APPNOTE.TXT.
const (
	sigLocal      = 0x04034b50
	sigCentral    = 0x02014b50
	sigEnd        = 0x06054b50
	sigEnd64      = 0x06064b50
	sigLocator64  = 0x07064b50
	sigDescriptor = 0x08074b50

	localBytes     = 30
	centralBytes   = 46
	endBytes       = 22
	end64Bytes     = 56
	locator64Bytes = 20

	extraZip64 = 0x0001
	extraAES   = 0x9901

	flagEncrypted  = 1 << 0
	flagDescriptor = 1 << 3
	flagPatched    = 1 << 5
	flagStrong     = 1 << 6
	flagMasked     = 1 << 13
)

// Compression methods.
const (
	Stored  = 0
	Deflate = 8
	Bzip2   = 12
	LZMA    = 14
	Zstd    = 93
	XZ      = 95
	AES     = 99
)

// Entry is one member as the archive announces it. Sizes and offsets have been
// held against the Source; names have not.
type Entry struct {
	Name         string
	Method       uint16
	Flags        uint16
	CRC32        uint32
	Packed, Size int64 // bytes in the archive, and what they are said to unpack to
	Header       int64 // offset of the local header
	Data         int64 // offset of the packed bytes, -1 where the local header is unreadable
	// Part counts the archives that stand one behind the other in a file, from the
	// last one, which is 0, to the first.
	Part int
}

// Contiguous reports whether the bytes of the member lie in the archive as they are.
func (e *Entry) Contiguous() bool { return e.Method == Stored && e.Data >= 0 }

// Dir reports whether the entry is a folder.
func (e *Entry) Dir() bool { return strings.HasSuffix(e.Name, "/") && e.Packed == 0 }

// parseCentral reads one central header whose variable part is in b as well. The
// sizes may be saturated; offset is as claimed, without what stands in front of
// the archive.
func parseCentral(b []byte) Entry {
	le := binary.LittleEndian
	n, x := int(le.Uint16(b[28:])), int(le.Uint16(b[30:]))
	e := Entry{
		Flags: le.Uint16(b[8:]), Method: le.Uint16(b[10:]), CRC32: le.Uint32(b[16:]),
		Packed: int64(le.Uint32(b[20:])), Size: int64(le.Uint32(b[24:])), Header: int64(le.Uint32(b[42:])),
		Name: string(b[centralBytes : centralBytes+n]), Data: -1,
	}
	wide := []*int64{&e.Size, &e.Packed, &e.Header}
	e.widen(b[centralBytes+n:centralBytes+n+x], wide)
	return e
}

// widen replaces fields that are all ones by those of the zip64 extra field.
func (e *Entry) widen(extra []byte, fields []*int64) {
	for len(extra) >= 4 {
		id, n := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		extra = extra[4:]
		if n > len(extra) {
			return
		}
		field := extra[:n]
		extra = extra[n:]
		if id != extraZip64 {
			continue
		}
		for _, f := range fields {
			if *f == 0xffffffff && len(field) >= 8 {
				*f = int64(binary.LittleEndian.Uint64(field))
				field = field[8:]
			}
		}
		return
	}
}

// local is what a local header says.
type local struct {
	Entry
	end int64 // offset behind name and extra field
}

// readLocal reads the local header at off.
func readLocal(src formats.Source, off int64) (local, bool) {
	var b [localBytes]byte
	if off < 0 || off > src.Size()-localBytes || formats.ReadFull(src, b[:], off) != nil {
		return local{}, false
	}
	le := binary.LittleEndian
	if le.Uint32(b[:]) != sigLocal {
		return local{}, false
	}
	n, x := int(le.Uint16(b[26:])), int(le.Uint16(b[28:]))
	rest := make([]byte, n+x)
	if formats.ReadFull(src, rest, off+localBytes) != nil {
		return local{}, false
	}
	l := local{Entry: Entry{
		Name: string(rest[:n]), Flags: le.Uint16(b[6:]), Method: le.Uint16(b[8:]), CRC32: le.Uint32(b[14:]),
		Packed: int64(le.Uint32(b[18:])), Size: int64(le.Uint32(b[22:])), Header: off,
	}, end: off + localBytes + int64(n+x)}
	l.Data = l.end
	l.widen(rest[n:], []*int64{&l.Size, &l.Packed})
	return l, true
}
