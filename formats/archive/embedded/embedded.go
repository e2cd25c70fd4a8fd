// Package embedded finds models that begin somewhere within another file: behind a
// picture, in front of junk. It knows the first bytes of the formats and of
// compressed streams; whether a model follows is for their decoders to say.
package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"weightwarden/formats"
	"weightwarden/formats/archive"
)

// ID names what a model was found in.
const ID formats.ID = "embedded"

const (
	// searchBytes is how much of a file is searched. Reading all of every large file
	// of other kinds once more would cost an agent more than this evasion is worth;
	// what lies behind is still matched byte by byte.
	searchBytes = 64 << 20
	blockBytes  = 1 << 20
	// look is how many bytes from its beginning on a candidate is told by.
	look = 32
	// maxEach bounds the candidates of one kind, most of which come about by chance.
	maxEach = 16
)

// Container is a file with models somewhere in it.
type Container struct{}

// ID implements formats.Container.
func (Container) ID() formats.ID { return ID }

// Sniff implements formats.Container: nothing tells before it was searched.
func (Container) Sniff([]byte) bool { return true }

// kind is what a candidate may be.
type kind struct {
	magic  string
	before int                 // bytes of the format that come before the magic
	likely func(b []byte) bool // of look bytes from the format's beginning on
}

// kinds returns the formats and streams that are looked for. Sources: those that the
// packages of their decoders name.
func kinds() []kind {
	return []kind{
		{magic: "GGUF", likely: func(b []byte) bool {
			little, big := binary.LittleEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[4:])
			return little >= 1 && little <= 3 || big >= 1 && big <= 3
		}},
		{magic: `{"`, before: 8, likely: func(b []byte) bool { // safetensors: the header's length comes first
			n := binary.LittleEndian.Uint64(b)
			return n >= 16 && n <= 100<<20
		}},
		{magic: "\x89HDF\r\n\x1a\n"},
		{magic: "\x93NUMPY", likely: func(b []byte) bool { return b[6] >= 1 && b[6] <= 3 && b[7] == 0 }},
		{magic: "\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", before: 2}, // PyTorch before 1.6
		{magic: "PK\x03\x04", likely: func(b []byte) bool { return b[5] == 0 && binary.LittleEndian.Uint16(b[26:]) < 4096 }},
		{magic: "\x1f\x8b\x08", likely: func(b []byte) bool { return b[3]&0xe0 == 0 && (b[9] <= 13 || b[9] == 255) }},
		{magic: "\x28\xb5\x2f\xfd"},
		{magic: "\xfd7zXZ\x00"},
		{magic: "7z\xbc\xaf\x27\x1c"},
	}
}

// Open implements formats.Container. Members are the places where a model may begin,
// each to the end of the file.
func (Container) Open(ctx context.Context, src formats.Source, _ formats.Limits) (*formats.Members, error) {
	size := min(src.Size(), searchBytes)
	found := make(map[int64]bool)
	all := kinds()
	count := make([]int, len(all))
	buf := make([]byte, blockBytes+look)
	var offsets []int64
	for at := int64(0); at < size; at += blockBytes {
		if err := ctx.Err(); err != nil {
			return nil, formats.Errorf(ID, "search", at, err, "stopped")
		}
		b := buf[:min(int64(len(buf)), src.Size()-at)]
		if err := formats.ReadFull(src, b, at); err != nil {
			return nil, formats.Errorf(ID, "search", at, err, "cannot be read")
		}
		for i := range all {
			for _, off := range all[i].find(b) {
				if off += at; !found[off] && count[i] < maxEach {
					found[off] = true
					count[i]++
					offsets = append(offsets, off)
				}
			}
		}
	}
	if len(offsets) == 0 {
		return nil, formats.Errorf(ID, "search", 0, formats.ErrNotRecognized, "no model begins in it")
	}
	return members(src, offsets), nil
}

// find returns where in b the kind may begin. A block ends with bytes of the next
// one: what begins in those is found there.
func (k *kind) find(b []byte) (offsets []int64) {
	for from := 0; ; {
		i := bytes.Index(b[from:], []byte(k.magic))
		if i < 0 {
			return offsets
		}
		at := from + i - k.before
		from += i + 1
		if at < 0 || at >= blockBytes || at+look > len(b) && k.likely != nil {
			continue
		}
		if k.likely == nil || k.likely(b[at:at+look]) {
			offsets = append(offsets, int64(at))
		}
	}
}

// members makes parts of a file, in rising order.
func members(src formats.Source, offsets []int64) *formats.Members {
	slices.Sort(offsets)
	var set archive.Set
	for _, off := range offsets {
		set.Add(fmt.Sprintf("from byte %d on", off), archive.NewPart(src, off, src.Size()-off))
	}
	out := set.Members(nil)
	if src.Size() > searchBytes {
		out.Findings = []formats.Finding{{Code: "embedded.search", Severity: formats.Info, Offset: searchBytes,
			Text: fmt.Sprintf("models within the file were looked for in its first %d bytes only", int64(searchBytes))}}
	}
	return out
}
