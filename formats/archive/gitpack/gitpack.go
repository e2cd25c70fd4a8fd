// Package gitpack opens the pack files in which git keeps what was committed:
// weights in a work tree with a remote are one push away from it. Format:
// gitformat-pack(5) of git 2.53, versions 2 and 3.
package gitpack

import (
	"bufio"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"weightwarden/formats"
	"weightwarden/formats/archive"
)

const (
	id          formats.ID = "gitpack"
	headerBytes            = 12
	leastObject            = 1 + 8 // header and the shortest zlib stream
	// leastBlob is the size from which an object is a member: most of a repository are texts.
	leastBlob = 16 << 10
	// leastDelta is the size from which a difference is told as not read.
	leastDelta = 16 << 20
)

// Types of objects.
const (
	blob     = 3
	ofsDelta = 6
	refDelta = 7
)

// Container opens pack files.
type Container struct{}

// ID implements formats.Container.
func (Container) ID() formats.ID { return id }

// Sniff implements formats.Container.
func (Container) Sniff(head []byte) bool {
	return len(head) >= headerBytes && string(head[:4]) == "PACK" && (head[7] == 2 || head[7] == 3) && head[4]|head[5]|head[6] == 0
}

// Open implements formats.Container. Members are the blobs that are stored whole, by their offsets: their names stand
// elsewhere in the repository. What is stored as the difference from another object is told as not read.
func (Container) Open(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Members, error) {
	head := make([]byte, headerBytes)
	if err := formats.ReadFull(src, head, 0); err != nil {
		return nil, formats.Errorf(id, "header", 0, err, "cannot be read")
	}
	limits = limits.OrDefault()
	spool := formats.SpoolOf(ctx, limits)
	p := &pack{ctx: formats.WithSpool(ctx, spool), spool: spool, src: src, limits: limits, at: headerBytes, buf: make([]byte, 32<<10)}
	p.in = &counter{in: bufio.NewReaderSize(io.NewSectionReader(src, headerBytes, src.Size()-headerBytes), 64<<10), n: headerBytes}
	p.left = p.limits.InflatedBytes
	count := binary.BigEndian.Uint32(head[8:])
	for i := range count {
		if err := ctx.Err(); err != nil {
			return nil, formats.Errorf(id, "object", p.at, err, "stopped")
		}
		if err := p.object(); err != nil {
			p.finding("damaged", p.at, fmt.Sprintf("object %d of %d and what follows: %v", i+1, count, err))
			break
		}
	}
	if p.deltas > 0 {
		p.finding("delta", p.firstDelta, fmt.Sprintf("%d objects, %d bytes in all, are stored as differences from others: clone the repository and check its files", p.deltas, p.deltaBytes))
	}
	if p.set.Len() == 0 && len(p.findings) == 0 && count == 0 {
		return nil, formats.Errorf(id, "header", 8, formats.ErrMalformed, "a pack of no objects")
	}
	out := p.set.Members(p.findings)
	out.Reach = p.at
	return out, nil
}

type pack struct {
	ctx        context.Context
	src        formats.Source
	limits     formats.Limits
	spool      *formats.Spool
	in         *counter
	zlib       io.ReadCloser // used again and again: a repository has millions of objects
	buf        []byte
	set        archive.Set
	findings   []formats.Finding
	at         int64 // of the next object
	left       int64 // bytes that may still be unpacked to find where objects end
	deltas     int
	deltaBytes int64
	firstDelta int64
}

func (p *pack) finding(code string, offset int64, text string) {
	p.findings = append(p.findings, formats.Finding{Code: string(id) + "." + code, Severity: formats.Unread, Offset: offset, Text: text})
}

// object reads the object at p.at and goes on to the next. Where it ends is known only once it was unpacked.
func (p *pack) object() error {
	if p.src.Size()-p.at < leastObject {
		return fmt.Errorf("%w: the pack ends", formats.ErrTruncated)
	}
	kind, size, err := p.in.header()
	if err != nil {
		return err
	}
	begin := p.in.n
	real, err := p.skip(size)
	if real < 0 {
		return err
	}
	end := p.in.n
	if err != nil {
		end = p.src.Size() // a broken stream takes all that is there
	}
	switch {
	case kind == blob && size >= leastBlob:
		if !p.spool.Member() {
			return fmt.Errorf("%w: more members than allowed", formats.ErrLimit)
		}
		p.add(begin, end-begin)
	case (kind == ofsDelta || kind == refDelta) && real >= leastDelta:
		if p.deltas == 0 {
			p.firstDelta = p.at
		}
		p.deltas++
		p.deltaBytes += real
	}
	if err == nil {
		p.at = end
	}
	return err
}

func (p *pack) add(begin, packed int64) {
	name := fmt.Sprintf("object at byte %d", p.at)
	p.set.Add(name, archive.NewUnpacked(p.ctx, archive.Stream{Format: id, Name: name, Packed: packed,
		Open: func() (io.Reader, error) {
			return zlib.NewReader(bufio.NewReader(io.NewSectionReader(p.src, begin, packed)))
		}}, p.limits))
}

// skip unpacks the stream of an object, which says that it has size bytes. Of a difference real is how large what it
// makes is; it is negative where there is no stream.
func (p *pack) skip(size int64) (real int64, err error) {
	if p.zlib == nil {
		p.zlib, err = zlib.NewReader(p.in)
	} else {
		err = p.zlib.(zlib.Resetter).Reset(p.in, nil)
	}
	if err != nil {
		return -1, fmt.Errorf("%w: %v", formats.ErrMalformed, err)
	}
	in := io.LimitReader(p.zlib, min(size, p.left)+1)
	start := 0
	for start < 20 && err == nil {
		var k int
		k, err = in.Read(p.buf[start:20])
		start += k
	}
	real = deltaResult(p.buf[:start])
	n := int64(start)
	if err == nil {
		n, err = io.CopyBuffer(contextWriter{p.ctx}, in, p.buf)
		n += int64(start)
	} else if err == io.EOF {
		err = nil
	}
	p.left -= n
	switch {
	case p.left < 0:
		return real, fmt.Errorf("%w: the pack unpacks to more than the limits allow", formats.ErrLimit)
	case err != nil:
		return real, fmt.Errorf("%w: byte %d of %d: %v", formats.ErrMalformed, n, size, err)
	case n != size:
		return real, fmt.Errorf("%w: an object has not the %d bytes that it says", formats.ErrMalformed, size)
	}
	return real, nil
}

// deltaResult is the second number of a difference: how many bytes it makes.
func deltaResult(b []byte) int64 {
	_, k := binary.Uvarint(b)
	if k <= 0 {
		return 0
	}
	n, k := binary.Uvarint(b[k:])
	if k <= 0 || n > 1<<62 {
		return 0
	}
	return int64(n)
}

// contextWriter drops what it is given until the context ends.
type contextWriter struct{ ctx context.Context }

func (w contextWriter) Write(b []byte) (int, error) { return len(b), w.ctx.Err() }

// counter reads a source and counts: a decompressor takes bytes one by one, and none that are not its own.
type counter struct {
	in *bufio.Reader
	n  int64 // offset
}

func (c *counter) ReadByte() (byte, error) {
	b, err := c.in.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	return n, err
}

// header reads what stands in front of an object's stream.
func (c *counter) header() (kind byte, size int64, err error) {
	b, err := c.ReadByte()
	if err != nil {
		return 0, 0, err
	}
	kind, size = b>>4&7, int64(b&15)
	for shift := 4; b&0x80 != 0; shift += 7 {
		if shift > 56 {
			return 0, 0, fmt.Errorf("%w: an object of more than 2^63 bytes", formats.ErrMalformed)
		}
		if b, err = c.ReadByte(); err != nil {
			return 0, 0, err
		}
		size |= int64(b&0x7f) << shift
	}
	switch kind {
	case 1, 2, blob, 4:
	case ofsDelta:
		for range 10 { // a distance within the pack
			if b, err = c.ReadByte(); err != nil || b&0x80 == 0 {
				break
			}
		}
	case refDelta:
		_, err = io.ReadFull(c, make([]byte, 20)) // the name, of repositories with SHA-1, which nearly all are
	default:
		err = fmt.Errorf("%w: object of type %d", formats.ErrMalformed, kind)
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: the pack ends", formats.ErrTruncated)
	}
	return kind, size, err
}
