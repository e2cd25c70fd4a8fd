package pickle

import (
	"bytes"
	"encoding/binary"

	"weightwarden/formats"
)

const windowBytes = 32 << 10

// input reads a Source forward through a window and knows its offset. budget is
// what may still be read; bytes that are skipped do not count.
type input struct {
	src    formats.Source
	pos    int64
	budget int64
	window []byte
	at     int64 // offset of window in src
	store  []byte
}

func newInput(src formats.Source, offset, budget int64) *input {
	return &input{src: src, pos: offset, budget: budget, store: make([]byte, windowBytes)}
}

func (in *input) fail(reason error, text string, args ...any) error {
	return formats.Errorf("pickle", "stream", in.pos, reason, text, args...)
}

// fill makes at least n bytes at pos available, n up to windowBytes.
func (in *input) fill(n int) ([]byte, error) {
	if i := in.pos - in.at; i >= 0 && i+int64(n) <= int64(len(in.window)) {
		return in.window[i:], nil
	}
	left := in.src.Size() - in.pos
	if left < int64(n) || left < 0 {
		return nil, in.fail(formats.ErrTruncated, "%d bytes wanted, %d left", n, max(left, 0))
	}
	w := in.store[:min(left, int64(len(in.store)))]
	if err := formats.ReadFull(in.src, w, in.pos); err != nil {
		in.window = nil
		return nil, &formats.Error{Format: "pickle", Field: "stream", Offset: in.pos, Err: err}
	}
	in.window, in.at = w, in.pos
	return w, nil
}

func (in *input) spend(n int64) error {
	if n > in.budget {
		return in.fail(formats.ErrLimit, "pickle is larger than the limit for metadata")
	}
	in.budget -= n
	return nil
}

// small returns the next n bytes, n up to windowBytes; they are valid until the next call.
func (in *input) small(n int) ([]byte, error) {
	if err := in.spend(int64(n)); err != nil {
		return nil, err
	}
	b, err := in.fill(n)
	if err != nil {
		return nil, err
	}
	in.pos += int64(n)
	return b[:n], nil
}

func (in *input) u8() (byte, error) {
	b, err := in.small(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// length reads a little-endian length of 1, 4 or 8 bytes and holds it against
// the bytes that remain.
func (in *input) length(width int) (int64, error) {
	b, err := in.small(width)
	if err != nil {
		return 0, err
	}
	var n uint64
	switch width {
	case 1:
		n = uint64(b[0])
	case 4:
		n = uint64(binary.LittleEndian.Uint32(b))
	default:
		n = binary.LittleEndian.Uint64(b)
	}
	if left := in.src.Size() - in.pos; left < 0 || n > uint64(left) {
		return 0, in.fail(formats.ErrTruncated, "string of %d bytes, %d left", n, max(left, 0))
	}
	return int64(n), nil
}

func (in *input) skip(n int64) { in.pos += n }

// line returns the bytes up to the next newline, without it.
func (in *input) line() ([]byte, error) {
	var out []byte
	for {
		b, err := in.fill(1)
		if err != nil {
			return nil, err
		}
		i := bytes.IndexByte(b, '\n')
		n := i + 1
		if i < 0 {
			n = len(b)
		}
		if err := in.spend(int64(n)); err != nil {
			return nil, err
		}
		in.pos += int64(n)
		if i >= 0 {
			return append(out, b[:i]...), nil
		}
		if out = append(out, b...); len(out) > lineBytes {
			return nil, in.fail(formats.ErrLimit, "line of more than %d bytes", lineBytes)
		}
	}
}
