package zarr

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/pierrec/lz4/v4"

	"weightwarden/formats"
	"weightwarden/formats/archive/stream"
)

// known reports whether a codec is read.
func (c codec) known() bool {
	_, ok := c.stream()
	return ok || c.name == "blosc" || c.name == "crc32c"
}

// stream returns what unpacks a codec that can be read piece by piece; false for
// others.
func (c codec) stream() (stream.Container, bool) {
	switch c.name {
	case "zstd":
		return stream.Zstd(), true
	case "gzip":
		return stream.Gzip(), true
	case "zlib":
		return stream.Zlib(), true
	case "bz2":
		return stream.Bzip2(), true
	}
	return stream.Container{}, false
}

// undo returns what b was before the codec, at most limit bytes.
func (c codec) undo(b []byte, limit int64) ([]byte, error) {
	switch c.name {
	case "crc32c": // a wrong checksum must not hide weights
		if len(b) < 4 {
			return nil, fmt.Errorf("%w: a chunk without its checksum", formats.ErrTruncated)
		}
		return b[:len(b)-4], nil
	case "blosc":
		return unblosc(b, limit)
	}
	how, ok := c.stream()
	if !ok {
		return nil, fmt.Errorf("%w: codec %.100q", formats.ErrUnsupported, c.name)
	}
	r, err := how.Reader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %v", formats.ErrMalformed, c.name, err)
	}
	if closer, ok := r.(io.Closer); ok {
		defer closer.Close()
	}
	out := bytes.NewBuffer(make([]byte, 0, min(limit+64, 64*int64(len(b))+64)))
	if _, err := io.Copy(out, io.LimitReader(r, limit+64)); err != nil {
		return nil, fmt.Errorf("%w: %s: %v", formats.ErrMalformed, c.name, err)
	}
	return out.Bytes(), nil
}

// transposed puts a chunk whose axes are stored in another order into row-major
// order.
func transposed(b []byte, chunk []int64, order []int, element int64) []byte {
	stride := make([]int64, len(chunk)) // of the axes, as stored
	step := element
	for i := len(order) - 1; i >= 0; i-- {
		stride[order[i]] = step
		step *= chunk[order[i]]
	}
	out := make([]byte, len(b))
	at, from := make([]int64, len(chunk)), int64(0)
	for to := int64(0); to+element <= int64(len(out)); to += element {
		copy(out[to:to+element], b[from:])
		for i := len(chunk) - 1; i >= 0; i-- {
			at[i]++
			if from += stride[i]; at[i] < chunk[i] {
				break
			}
			from -= chunk[i] * stride[i]
			at[i] = 0
		}
	}
	return out
}

// The compressors inside of Blosc, and its flags.
const (
	bloscLZ4  = 1
	bloscZlib = 3
	bloscZstd = 4

	bloscShuffled   = 1
	bloscStored     = 2
	bloscBitShuffle = 4
	bloscWhole      = 16 // blocks are not split by the bytes of elements
)

// unblosc unpacks a chunk of Blosc 1: a header of 16 bytes, the places of its
// blocks, and each block as streams, of the first bytes of all elements, the
// second, and so on, or as one. Source: README_CHUNK_FORMAT.rst of Blosc/c-blosc.
func unblosc(b []byte, limit int64) ([]byte, error) {
	if len(b) < 16 {
		return nil, errBlosc
	}
	flags, element := b[2], int(b[3])
	size, block := int64(u32(b[4:])), int64(u32(b[8:]))
	switch {
	case size > limit || b[0] > 2:
		return nil, fmt.Errorf("%w: blosc of version %d with %d bytes", formats.ErrMalformed, b[0], size)
	case flags&bloscStored != 0 && int64(len(b)) < 16+size:
		return nil, errBlosc
	case flags&bloscStored != 0:
		return b[16:][:size], nil
	case flags&bloscBitShuffle != 0:
		return nil, fmt.Errorf("%w: blosc with shuffled bits", formats.ErrUnsupported)
	case size > 0 && (block < 1 || size > 1100*int64(len(b))):
		return nil, errBlosc
	}
	out := make([]byte, 0, size)
	for i := int64(0); int64(len(out)) < size; i++ {
		if int64(len(b)) < 16+4*i+4 {
			return nil, errBlosc
		}
		n := int(min(block, size-int64(len(out))))
		streams := 1
		if flags&bloscWhole == 0 && element > 1 && element <= 16 && n%element == 0 && int64(n) == block {
			streams = element
		}
		part, err := bloscBlock(b, int64(u32(b[16+4*i:])), n, streams, flags>>5)
		if err != nil {
			return nil, err
		}
		if flags&bloscShuffled != 0 && element > 1 {
			part = unshuffled(part, element)
		}
		out = append(out, part...)
	}
	return out, nil
}

var errBlosc = fmt.Errorf("%w: blosc", formats.ErrMalformed)

// bloscBlock unpacks the streams of a block of n bytes that begins at byte at.
func bloscBlock(b []byte, at int64, n, streams int, kind byte) ([]byte, error) {
	out := make([]byte, 0, n)
	for range streams {
		if at < 16 || at+4 > int64(len(b)) || int64(u32(b[at:])) > int64(len(b))-at-4 {
			return nil, errBlosc
		}
		packed := b[at+4:][:u32(b[at:])]
		at += 4 + int64(len(packed))
		raw, err := bloscStream(packed, kind, n/streams)
		if err != nil {
			return nil, err
		}
		out = append(out, raw...)
	}
	return out, nil
}

// bloscStream unpacks one stream to exactly n bytes.
func bloscStream(packed []byte, kind byte, n int) ([]byte, error) {
	if len(packed) == n { // worth no packing
		return packed, nil
	}
	if n > 1100*len(packed)+64 {
		return nil, errBlosc
	}
	var out []byte
	var err error
	switch kind {
	case bloscLZ4:
		var got int
		out = make([]byte, n)
		if got, err = lz4.UncompressBlock(packed, out); err != nil {
			err = fmt.Errorf("%w: lz4: %v", formats.ErrMalformed, err)
		}
		out = out[:max(0, got)]
	case bloscZlib:
		out, err = codec{"zlib"}.undo(packed, int64(n))
	case bloscZstd:
		out, err = codec{"zstd"}.undo(packed, int64(n))
	default:
		return nil, fmt.Errorf("%w: compressor %d inside of blosc", formats.ErrUnsupported, kind)
	}
	if err == nil && len(out) != n {
		err = errBlosc
	}
	return out, err
}

// unshuffled puts the bytes of elements together again.
func unshuffled(b []byte, element int) []byte {
	n := len(b) / element
	out := make([]byte, len(b))
	for i := range n {
		for j := range element {
			out[i*element+j] = b[j*n+i]
		}
	}
	copy(out[n*element:], b[n*element:])
	return out
}

func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
