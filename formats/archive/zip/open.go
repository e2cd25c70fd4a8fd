package zip

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"

	"weightwarden/formats"
	"weightwarden/formats/archive"
	"weightwarden/formats/archive/stream"
)

const (
	// Stored members up to crcMember bytes have their checksum compared, up to
	// crcTotal bytes a file; larger ones would have to be read in whole.
	crcMember = 64 << 10
	crcTotal  = 16 << 20
)

// Container opens zip archives.
type Container struct{}

// ID implements formats.Container.
func (Container) ID() formats.ID { return id }

// Sniff implements formats.Container: a member near the start.
func (Container) Sniff(head []byte) bool {
	return archive.Within(head, "PK\x03\x04")
}

// SniffTail implements formats.TailSniffer: an end record near the end.
func (Container) SniffTail(tail []byte) bool {
	return bytes.Contains(tail, []byte{'P', 'K', 5, 6})
}

// Open implements formats.Container. Stored members are parts of src; others
// unpack when they are read.
func (Container) Open(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Members, error) {
	a, err := Read(ctx, src, limits)
	if err != nil {
		return nil, err
	}
	var set archive.Set
	for i := range a.Entries {
		e := &a.Entries[i]
		if e.Dir() || e.Data < 0 {
			continue
		}
		m, err := a.Source(ctx, e)
		if err != nil {
			a.note("zip.member", formats.Unread, e.Header, "member %.200q: %v", e.Name, err)
			continue
		}
		set.Add(e.Name, m)
	}
	members := set.Members(a.Findings)
	members.Reach = a.reach()
	return members, nil
}

// Source returns the contents of a member.
func (a *Archive) Source(ctx context.Context, e *Entry) (formats.Source, error) {
	if e.Data < 0 {
		return nil, formats.Errorf(id, "local header", e.Header, formats.ErrMalformed, "no data")
	}
	packed, err := formats.Section(a.src, e.Data, e.Packed)
	if err != nil {
		return nil, formats.Errorf(id, "member", e.Data, formats.ErrTruncated, "%v", err)
	}
	if e.Method == Stored {
		return packed, nil
	}
	open, ok := decompressor(e.Method)
	if !ok {
		return nil, formats.Errorf(id, "method", e.Header, formats.ErrUnsupported, "compression method %d", e.Method)
	}
	want := e.CRC32
	return archive.NewUnpacked(ctx, archive.Stream{Format: id, Name: e.Name, Packed: e.Packed,
		Open: func() (io.Reader, error) {
			r, err := open(io.NewSectionReader(packed, 0, packed.Size()))
			if err != nil {
				return nil, err
			}
			return &crcReader{r: r, sum: crc32.NewIEEE(), want: want}, nil
		}}, a.limits), nil
}

func decompressor(method uint16) (func(io.Reader) (io.Reader, error), bool) {
	switch method {
	case Deflate:
		return func(r io.Reader) (io.Reader, error) { return flate.NewReader(r), nil }, true
	case Bzip2:
		return stream.Bzip2().Reader, true
	case Zstd:
		return stream.Zstd().Reader, true
	case XZ:
		return stream.XZ().Reader, true
	case LZMA:
		return openLZMA, true
	}
	return nil, false
}

// openLZMA reads method 14: two bytes of version, the length of the properties,
// then the properties and a raw stream that ends with a marker.
func openLZMA(r io.Reader) (io.Reader, error) {
	var b [9]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, err
	}
	if n := binary.LittleEndian.Uint16(b[2:]); n != 5 {
		return nil, formats.Errorf(id, "LZMA properties", -1, formats.ErrMalformed, "%d bytes", n)
	}
	header := append(b[4:9:9], "\xff\xff\xff\xff\xff\xff\xff\xff"...)
	return stream.LZMA().Reader(io.MultiReader(bytes.NewReader(header), r))
}

// crcReader compares the checksum at the end of the stream. Loaders of models
// ignore it, so all bytes are delivered before the error. A wanted sum of zero is
// one that no header told.
type crcReader struct {
	r    io.Reader
	sum  hash.Hash32
	want uint32
}

// Close implements io.Closer.
func (c *crcReader) Close() error {
	if cl, ok := c.r.(io.Closer); ok {
		return cl.Close()
	}
	return nil
}

// Read implements io.Reader.
func (c *crcReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sum.Write(p[:n])
	if err == io.EOF && c.want != 0 && c.sum.Sum32() != c.want {
		err = fmt.Errorf("%w: checksum differs from the one in the directory", formats.ErrMalformed)
	}
	return n, err
}

// check reports duplicate and odd names and wrong checksums of small stored members.
func (a *Archive) check(ctx context.Context) {
	a.duplicates()
	budget := int64(crcTotal)
	var buf []byte
	for i := range a.Entries {
		e := &a.Entries[i]
		if e.Method != Stored || e.Data < 0 || e.Packed > crcMember || e.Packed != e.Size || e.CRC32 == 0 {
			continue
		}
		if budget -= e.Packed; budget < 0 || ctx.Err() != nil {
			return
		}
		if int64(cap(buf)) < e.Packed {
			buf = make([]byte, e.Packed)
		}
		if b := buf[:e.Packed]; formats.ReadFull(a.src, b, e.Data) == nil && crc32.ChecksumIEEE(b) != e.CRC32 {
			a.note("zip.crc", formats.Warning, e.Data, "the checksum of member %.200q is wrong", e.Name)
		}
	}
}

// duplicates reports names that only differ in case, or not at all: loaders
// take the first one, scanners often the last.
func (a *Archive) duplicates() {
	names := make([]string, len(a.Entries))
	for i := range a.Entries { // equal names in archives behind each other are no duplicates
		names[i] = strconv.Itoa(a.Entries[i].Part) + "/" + strings.ToLower(a.Entries[i].Name)
	}
	slices.Sort(names)
	for i := 1; i < len(names); i++ {
		if names[i] == names[i-1] && (i < 2 || names[i-2] != names[i]) {
			_, name, _ := strings.Cut(names[i], "/")
			a.note("zip.duplicate", formats.Danger, -1, "more than one member is named %.200q, case folded", name)
		}
	}
}
