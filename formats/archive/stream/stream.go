// Package stream opens compressed single files: gzip, zstd, xz, lzma, bzip2, zlib
// and lz4. Each is a container of one member that is unpacked when it is first
// read. A stream that breaks gives what came before.
package stream

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"compress/zlib"
	"context"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"weightwarden/formats"
	"weightwarden/formats/archive"
)

// windowBytes bounds the history that a decompressor keeps: what zstd --long=27
// and xz -9e need. Larger windows are refused, since a file claims them for free.
const windowBytes = 128 << 20

const zstdID formats.ID = "zstd"

// Container opens one kind of compressed stream.
type Container struct {
	id    formats.ID
	sniff func(head []byte) bool
	open  func(io.Reader) (io.Reader, error)
}

// ID implements formats.Container.
func (c Container) ID() formats.ID { return c.id }

// Sniff implements formats.Container.
func (c Container) Sniff(head []byte) bool { return c.sniff(head) }

// Open implements formats.Container.
func (c Container) Open(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Members, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	runs, findings := []run{{0, src.Size()}}, []formats.Finding(nil)
	if c.id == zstdID {
		f := &frames{ctx: ctx, src: src}
		if err := f.find(); err != nil {
			return nil, &formats.Error{Format: c.id, Field: "stream", Offset: 0, Err: err}
		}
		runs, findings = f.runs, f.findings()
	}
	var set archive.Set
	for _, r := range runs {
		if !formats.SpoolOf(ctx, limits).Member() {
			findings = append(findings, formats.Finding{Code: string(c.id) + ".limit", Severity: formats.Unread, Offset: r.start,
				Text: fmt.Sprintf("%d streams are more members than allowed", len(runs))})
			break
		}
		set.Add(r.name(), c.unpacked(ctx, src, r, limits))
	}
	members := set.Members(findings)
	if len(runs) <= 1 && (set.Len() == 0 || members.Files[0].Source.Size() == 0) {
		text := "nothing could be unpacked"
		if set.Len() > 0 {
			findings = members.Files[0].Source.(formats.Noticer).Findings()
		}
		if len(findings) > 0 {
			text = findings[0].Text
		}
		return nil, formats.Errorf(c.id, "stream", 0, formats.ErrMalformed, "%s", text)
	}
	return members, nil
}

// unpacked is what a part of src unpacks to.
func (c Container) unpacked(ctx context.Context, src formats.Source, r run, limits formats.Limits) *archive.Unpacked {
	return archive.NewUnpacked(ctx, archive.Stream{Format: c.id, Name: r.name(), Packed: r.end - r.start,
		Open: func() (io.Reader, error) { return c.Reader(io.NewSectionReader(src, r.start, r.end-r.start)) }}, limits)
}

// Reader unpacks r, which is read through a buffer. What it returns is an
// io.Closer where there is something to give back.
func (c Container) Reader(r io.Reader) (io.Reader, error) {
	return c.open(Buffered(r))
}

// Buffered returns r behind a buffer, for decompressors that read single bytes.
func Buffered(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, 64<<10) }

// All returns a Container for every kind.
func All() []formats.Container {
	return []formats.Container{Gzip(), Zstd(), XZ(), LZMA(), Bzip2(), Zlib(), LZ4()}
}

func magic(m string) func([]byte) bool {
	return func(head []byte) bool { return bytes.HasPrefix(head, []byte(m)) }
}

// Gzip is RFC 1952, several members in a row included.
func Gzip() Container {
	return Container{"gzip", magic("\x1f\x8b\x08"), func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }}
}

// Zlib is RFC 1950, as joblib writes it. The two header bytes carry a checksum.
func Zlib() Container {
	return Container{"zlib", func(head []byte) bool {
		return len(head) > 2 && head[0]&0x0f == 8 && head[0]>>4 <= 7 && head[1]&0x20 == 0 && (int(head[0])<<8|int(head[1]))%31 == 0
	}, func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }}
}

// Bzip2 is the format of bzip2 1.0.
func Bzip2() Container {
	return Container{"bzip2", func(head []byte) bool {
		return len(head) > 10 && bytes.HasPrefix(head, []byte("BZh")) && (string(head[4:10]) == "1AY&SY" || string(head[4:10]) == "\x17rE8P\x90")
	}, func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }}
}

// Zstd is RFC 8878, skippable frames in front included.
func Zstd() Container {
	return Container{zstdID, func(head []byte) bool {
		return magic(zstdMagic)(head) || len(head) > 8 && head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18"
	}, openZstd}
}

func openZstd(r io.Reader) (io.Reader, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(windowBytes))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

// XZ is the .xz format 1.2.
func XZ() Container {
	return Container{"xz", magic("\xfd7zXZ\x00"), func(r io.Reader) (io.Reader, error) {
		return xz.ReaderConfig{DictCap: lzma.MinDictCap}.NewReader(r)
	}}
}

// LZMA is the .lzma format that came before .xz. It has no magic number: the
// properties byte, a dictionary size and a plausible length stand in for one.
func LZMA() Container {
	return Container{"lzma", func(head []byte) bool {
		if len(head) < lzma.HeaderLen+5 || head[0] != 0x5d {
			return false
		}
		return lzma.ValidHeader(head[:lzma.HeaderLen]) && head[lzma.HeaderLen] == 0
	}, func(r io.Reader) (io.Reader, error) {
		return lzma.ReaderConfig{DictCap: windowBytes}.NewReader(r)
	}}
}

// LZ4 is the frame format of LZ4 1.6.
func LZ4() Container {
	return Container{"lz4", magic("\x04\x22\x4d\x18"), func(r io.Reader) (io.Reader, error) { return lz4.NewReader(r), nil }}
}
