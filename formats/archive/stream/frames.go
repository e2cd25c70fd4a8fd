package stream

import (
	"bytes"
	"context"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"weightwarden/formats"
)

const (
	// maxRuns bounds the streams of one file, behind each other with something else
	// between them.
	maxRuns = 4096
	// blockBytes is how much of what lies between streams is searched at a time.
	blockBytes = 64 << 10
	// quietGap is how much of something else between the streams of a file is worth
	// no more than a warning; no model fits in it.
	quietGap = 64 << 10

	zstdMagic = "\x28\xb5\x2f\xfd"
)

// run is a stream within a file: frames without anything between them.
type run struct{ start, end int64 }

// name tells the streams of a file apart; the one at the first byte needs none.
func (r run) name() string {
	if r.start == 0 {
		return ""
	}
	return fmt.Sprintf("from byte %d on", r.start)
}

// frames finds the streams of zstd in a file that begins with one: databases keep
// values in such files one after the other, packed and not. It reads the lengths of
// blocks only, and what lies between the streams. A frame that is broken right
// behind another one is a part of its stream, to the end of the file.
type frames struct {
	ctx  context.Context
	src  formats.Source
	left int64 // bytes that may still be walked over, since candidates may overlap
	runs []run
	gaps int64
}

// find lists the streams; the error is that of ctx or of reading.
func (f *frames) find() error {
	f.left = 4*f.src.Size() + 1<<20
	at := int64(0)
	for at < f.src.Size() && len(f.runs) < maxRuns {
		r := run{at, at}
		for r.end < f.src.Size() && f.isMagic(r.end) {
			n, ok := f.frame(r.end)
			if !ok {
				n = f.src.Size() - r.end
			}
			r.end += n
		}
		if r.end > r.start {
			f.runs = append(f.runs, r)
		}
		next, err := f.next(r.end)
		if err != nil {
			return err
		}
		f.gaps += next - r.end
		at = next
	}
	return nil
}

func (f *frames) isMagic(at int64) bool {
	var b [4]byte
	if formats.ReadFull(f.src, b[:], at) != nil {
		return false
	}
	return string(b[:]) == zstdMagic || b[0]&0xf0 == 0x50 && string(b[1:]) == "\x2a\x4d\x18"
}

// frame returns the length of the whole frame at an offset; false where it is not
// one, or not whole.
func (f *frames) frame(at int64) (int64, bool) {
	var b [zstd.HeaderMaxSize]byte
	n := min(int64(len(b)), f.src.Size()-at)
	var h zstd.Header
	if formats.ReadFull(f.src, b[:n], at) != nil || h.Decode(b[:n]) != nil {
		return 0, false
	}
	end := at + int64(h.HeaderSize)
	if h.Skippable {
		end += int64(h.SkippableSize)
		return end - at, end <= f.src.Size()
	}
	for last := false; !last; {
		if f.ctx.Err() != nil || formats.ReadFull(f.src, b[:3], end) != nil {
			return 0, false
		}
		head := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		size := int64(head >> 3)
		switch head >> 1 & 3 {
		case 1: // one byte, repeated
			size = 1
		case 3:
			return 0, false
		}
		last = head&1 == 1
		end += 3 + size
		if f.left -= 3 + size; f.left < 0 {
			return 0, false
		}
	}
	if h.HasCheckSum {
		end += 4
	}
	return end - at, end <= f.src.Size()
}

// next returns where the next whole frame begins at or behind an offset, the end of
// the file where there is none.
func (f *frames) next(at int64) (int64, error) {
	buf := make([]byte, blockBytes+3)
	for at < f.src.Size() && f.left > 0 {
		if err := f.ctx.Err(); err != nil {
			return 0, err
		}
		b := buf[:min(int64(len(buf)), f.src.Size()-at)]
		if err := formats.ReadFull(f.src, b, at); err != nil {
			return 0, err
		}
		f.left -= int64(len(b))
		for from := 0; ; {
			i := bytes.Index(b[from:], []byte(zstdMagic))
			if i < 0 {
				break
			}
			if _, ok := f.frame(at + int64(from+i)); ok {
				return at + int64(from+i), nil
			}
			from += i + 1
		}
		at += min(blockBytes, int64(len(b)))
	}
	return f.src.Size(), nil
}

// findings tell what lies between and behind the streams.
func (f *frames) findings() []formats.Finding {
	var out []formats.Finding
	find := func(s formats.Severity, text string, args ...any) {
		out = append(out, formats.Finding{Code: "zstd.rest", Severity: s, Offset: -1, Text: fmt.Sprintf(text, args...)})
	}
	switch {
	case f.gaps >= quietGap:
		find(formats.Unread, "%d bytes between or behind the streams are something else", f.gaps)
	case f.gaps > 0:
		find(formats.Warning, "%d bytes between or behind the streams are something else", f.gaps)
	}
	if len(f.runs) == maxRuns || f.left <= 0 {
		find(formats.Unread, "only the first %d streams of the file were looked for", len(f.runs))
	}
	return out
}
