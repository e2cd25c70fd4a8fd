package sandbox

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime/debug"
	"sync"

	"weightwarden/formats"
)

// Descriptors that a child inherits.
const (
	fdControl = 3 + iota
	fdFile
	fdSpool
)

// Frames of the child; the parent answers siblings and lists, in order.
const (
	frameModel   = 'm'
	frameError   = 'e'
	frameSibling = 's'
	frameNames   = 'n'
	frameProbe   = 'p'
)

const (
	maxRequest = 1 << 16
	maxName    = 4096
	maxNames   = 1 << 20 // bytes of a folder's names
)

// request is what the parent asks for, as JSON with its length in front.
type request struct {
	Limits      formats.Limits
	Size        int64
	Probe       bool
	Siblings    bool
	UID, GID    int
	MemoryBytes int64
	Seconds     int64
}

// Child runs as the child of a Decoder and returns the exit code of the program:
// it gives up every privilege, then decodes the file it inherited.
func Child(decoders formats.Decoders) int {
	control := os.NewFile(fdControl, "control")
	link := &link{control: control}
	req, err := link.request()
	if err != nil {
		fmt.Fprintln(os.Stderr, "this program was started as a decoder without a parent")
		return 2
	}
	if req.MemoryBytes > 0 {
		debug.SetMemoryLimit(req.MemoryBytes * 3 / 4)
	}
	applied, err := restrict(req)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if req.Probe {
		err = link.probe(applied)
	} else {
		err = link.decode(decoders, req)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return 0
}

// link is the child's end of the control socket.
type link struct {
	mu       sync.Mutex
	control  *os.File
	siblings uint64
}

func (l *link) request() (request, error) {
	var req request
	var n [4]byte
	if _, err := io.ReadFull(l.control, n[:]); err != nil {
		return req, err
	}
	size := binary.LittleEndian.Uint32(n[:])
	if size > maxRequest {
		return req, errReply
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(l.control, b); err != nil {
		return req, err
	}
	return req, json.Unmarshal(b, &req)
}

func (l *link) probe(applied []string) error {
	w := bufio.NewWriter(l.control)
	e := &encoder{w: w}
	e.uint(frameProbe)
	e.uint(uint64(len(applied)))
	for _, s := range applied {
		e.text(s)
	}
	if e.err != nil {
		return e.err
	}
	return w.Flush()
}

func (l *link) decode(decoders formats.Decoders, req request) error {
	src := &fdSource{file: os.NewFile(fdFile, "model"), size: req.Size, place: place{kind: placeFile}}
	if req.Siblings {
		src.link = l
	}
	spool := formats.NewSpool(req.Limits, os.NewFile(fdSpool, "spool"))
	ctx := formats.WithSpool(context.Background(), spool)
	m, failed := decoders.Decode(ctx, src, req.Limits)
	w := bufio.NewWriterSize(l.control, 64<<10)
	e := &encoder{w: w}
	if failed != nil {
		e.uint(frameError)
		if err := e.failed(failed); err != nil {
			return err
		}
		return w.Flush()
	}
	locate := locator{ctx: ctx, spool: spool, known: map[any]place{}}
	e.uint(frameModel)
	if err := e.model(m, locate.place); err != nil {
		return err
	}
	return w.Flush()
}

// fdSource is a Source over an inherited or received descriptor.
type fdSource struct {
	file  *os.File
	size  int64
	place place
	link  *link // nil: no siblings
}

// Size implements formats.Source.
func (s *fdSource) Size() int64 { return s.size }

// ReadAt implements io.ReaderAt.
func (s *fdSource) ReadAt(p []byte, off int64) (int, error) { return s.file.ReadAt(p, off) }

// OpenSibling implements formats.Siblings: the parent decides and opens.
func (s *fdSource) OpenSibling(name string) (formats.Source, error) {
	if s.link == nil {
		return nil, formats.ErrNoSiblings
	}
	return s.link.sibling(name)
}

// SiblingNames implements formats.Lister.
func (s *fdSource) SiblingNames(max int) ([]string, error) {
	if s.link == nil {
		return nil, formats.ErrNoSiblings
	}
	return s.link.names(max)
}

// locator finds the place of a Source. What lies in no file is copied to the
// spool, so that the parent can read it.
type locator struct {
	ctx   context.Context
	spool *formats.Spool
	known map[any]place
}

func (l *locator) place(src formats.Source) (place, error) {
	off := int64(0)
	for range 64 { // sections of sections
		if src == nil {
			return place{}, nil
		}
		if f, ok := src.(*fdSource); ok {
			return place{f.place.kind, f.place.index, off}, nil
		}
		if l.spool.Holds(src) {
			return place{kind: placeSpool, offset: off}, nil
		}
		b, ok := src.(formats.Based)
		if !ok {
			break
		}
		base, at := b.Base()
		if base == src {
			break
		}
		src, off = base, off+at
	}
	p, err := l.copied(src)
	p.offset += off
	return p, err
}

func (l *locator) copied(src formats.Source) (place, error) {
	var key any = src
	if b, ok := src.(formats.BytesSource); ok {
		if len(b) == 0 {
			return place{kind: placeSpool}, nil
		}
		key = &b[0]
	} else if !reflect.TypeOf(src).Comparable() {
		key = nil
	}
	if p, ok := l.known[key]; ok && key != nil {
		return p, nil
	}
	out, err := l.spool.Unpack(l.ctx, io.NewSectionReader(src, 0, src.Size()), src.Size())
	if err != nil {
		return place{}, err
	}
	p := place{kind: placeSpool}
	if b, ok := out.(formats.Based); ok {
		_, p.offset = b.Base()
	}
	if key != nil {
		l.known[key] = p
	}
	return p, nil
}
