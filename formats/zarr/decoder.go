package zarr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"weightwarden/formats"
)

// ID is the format's name.
const ID formats.ID = "zarr"

const (
	// maxFiles bounds the chunks of an array in files of its own: they stay open.
	maxFiles = 4096
	// maxAsked bounds the files that are looked for; a sandbox answers 8192 times.
	maxAsked = maxFiles + maxFiles/2
)

// Decoder reads the .zarray or zarr.json of one array, with the chunks beside it.
type Decoder struct{}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return ID }

// Sniff implements formats.Decoder.
func (Decoder) Sniff(head []byte) bool {
	text := bytes.TrimLeft(head, " \t\r\n")
	return len(text) > 0 && text[0] == '{' && bytes.Contains(text, []byte(`"zarr_format"`))
}

// Decode implements formats.Decoder. An array has no name but that of its folder,
// which it does not know.
func (Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	if err := ctx.Err(); err != nil {
		return nil, formats.Errorf(ID, "file", 0, err, "not started")
	}
	most := min(MaxMetadata, limits.HeaderBytes)
	text := make([]byte, min(src.Size(), most))
	if err := formats.ReadFull(src, text, 0); err != nil {
		return nil, &formats.Error{Format: ID, Field: "metadata", Offset: 0, Err: err}
	}
	if src.Size() > most {
		if _, err := parse(text); errors.Is(err, formats.ErrNotRecognized) { // the values of a database begin like this
			return nil, &formats.Error{Format: ID, Field: "metadata", Offset: 0, Err: err}
		}
		return nil, formats.Errorf(ID, "metadata", 0, formats.ErrLimit, "metadata of %d bytes", src.Size())
	}
	m := &formats.Model{Format: ID}
	budget := NewBudget(limits)
	budget.Keys = min(budget.Keys, maxAsked)
	if err := Add(ctx, m, formats.Cut("array", limits.NameBytes), text, filesBeside(src), limits, budget); err != nil {
		return nil, &formats.Error{Format: ID, Field: "metadata", Offset: 0, Err: err}
	}
	return m, nil
}

// filesBeside finds chunks in the files beside src.
func filesBeside(src formats.Source) Chunks {
	_, lists := src.(formats.Lister)
	files := 0
	return func(key string) (formats.Extent, error) {
		s, err := formats.OpenSibling(src, key)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, formats.ErrNoSiblings) && lists:
			return formats.Extent{}, nil // what reaches a folder cannot always say why not
		case err != nil:
			return formats.Extent{}, fmt.Errorf("chunk %q: %w", key, err)
		}
		if files++; files > maxFiles {
			return formats.Extent{}, fmt.Errorf("%w: over %d files of chunks", formats.ErrLimit, maxFiles)
		}
		return formats.Extent{Source: s, Length: s.Size()}, nil
	}
}
