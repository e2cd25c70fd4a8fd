package safetensors

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"weightwarden/formats"
	"weightwarden/formats/internal/jsonstream"
)

// ID is the format's name.
const ID formats.ID = "safetensors"

// Decoder reads one safetensors file.
type Decoder struct{}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return ID }

// Sniff implements formats.Decoder. The reference accepts white space before the
// header's brace, so that a page of it has to be accepted too.
func (Decoder) Sniff(head []byte) bool {
	if len(head) < 10 || isText(head[:8]) {
		return false
	}
	rest := bytes.TrimLeft(head[8:], " \t\r\n")
	if len(rest) == 0 || rest[0] != '{' {
		return len(rest) == 0 && len(head) == formats.HeadBytes
	}
	rest = bytes.TrimLeft(rest[1:], " \t\r\n")
	return len(rest) == 0 || rest[0] == '"' || rest[0] == '}'
}

// isText tells a header length from the start of a text: as a length, eight
// printable bytes would be more than 2^59.
func isText(b []byte) bool {
	for _, c := range b {
		if c < '\t' || c > '~' {
			return false
		}
	}
	return true
}

// Decode implements formats.Decoder. Tensors come in the order of their bytes.
func (d Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	if err := ctx.Err(); err != nil {
		return nil, formats.Errorf(ID, "file", 0, err, "not started")
	}
	var frame [10]byte
	size := src.Size()
	if size < int64(len(frame)) {
		return nil, formats.Errorf(ID, "header length", 0, formats.ErrNotRecognized, "%d bytes are too few", size)
	}
	if err := formats.ReadFull(src, frame[:], 0); err != nil {
		return nil, &formats.Error{Format: ID, Field: "header length", Offset: 0, Err: err}
	}
	claimed := binary.LittleEndian.Uint64(frame[:])
	if isText(frame[:8]) {
		return nil, formats.Errorf(ID, "header length", 0, formats.ErrNotRecognized, "a text, not a length")
	}
	length, cause := int64(min(claimed, uint64(size-8))), error(nil)
	switch {
	case uint64(length) < claimed:
		cause = fmt.Errorf("%w: the header claims %d bytes, %d are left", formats.ErrTruncated, claimed, size-8)
	case length > limits.HeaderBytes:
		cause = fmt.Errorf("%w: a header of %d bytes", formats.ErrLimit, length)
	}
	h := &header{ctx: ctx, src: src, limits: limits, model: &formats.Model{Format: ID},
		base: 8 + min(claimed, 1<<62), in: jsonstream.New(src, 8, min(length, limits.HeaderBytes))}
	h.reserve(min(length, limits.HeaderBytes))
	return h.run(cause)
}

// run reads the header as far as it goes. What stops it is an error when nothing
// was found before, a finding otherwise; cause is a reason known beforehand.
func (h *header) run(cause error) (*formats.Model, error) {
	first, err := h.in.Peek()
	if err == nil && first != '{' {
		return nil, formats.Errorf(ID, "header", 8, formats.ErrNotRecognized, "no JSON object")
	}
	if err == nil {
		err = h.object()
	}
	if h.ctx.Err() != nil {
		return nil, formats.Errorf(ID, "header", h.in.Offset(), h.ctx.Err(), "stopped")
	}
	if err == nil {
		err = h.rest()
	}
	if err = errors.Join(cause, err); err != nil {
		if len(h.model.Tensors) == 0 {
			return nil, &formats.Error{Format: ID, Field: "header", Offset: h.in.Offset(), Err: err}
		}
		h.find("header", formats.Unread, h.in.Offset(), "the header was read in part: %v", err)
	}
	h.finish(err == nil)
	return h.model, nil
}

// rest looks at what follows the header's object: padding is white space.
func (h *header) rest() error {
	at := h.in.Offset()
	if c, err := h.in.Peek(); err == nil {
		h.find("header_tail", formats.Warning, at, "the header goes on behind its object with %q", string(rune(c)))
	} else if !errors.Is(err, formats.ErrTruncated) {
		return err
	}
	return nil
}

func (h *header) find(code string, s formats.Severity, offset int64, text string, args ...any) {
	h.model.AddFinding(h.limits.Findings, formats.Finding{Code: "safetensors." + code, Severity: s,
		Text: fmt.Sprintf(text, args...), Offset: offset})
}
