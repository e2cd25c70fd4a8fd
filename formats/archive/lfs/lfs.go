// Package lfs reads Git LFS pointer files: the few lines of text that stand for
// a large file in a Git tree. A pointer has no weights, but the digest of the
// file that has them. The format is docs/spec.md of git-lfs.
package lfs

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"weightwarden/formats"
)

const (
	id           formats.ID = "git-lfs"
	prefix                  = "version https://git-lfs.github.com/spec/v1\n"
	oldPrefix               = "version https://hawser.github.com/spec/v1\n"
	pointerBytes            = 1024 // a pointer is smaller, by the specification
)

// Pointer is what a pointer file says.
type Pointer struct {
	SHA256 string // lower-case hexadecimal digest of the file, 64 digits
	Size   int64  // bytes of the file
}

// Parse reads a pointer file. It fails with ErrNotRecognized where data is none.
func Parse(data []byte) (Pointer, error) {
	text := string(data)
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok {
		if rest, ok = strings.CutPrefix(text, oldPrefix); !ok || len(data) > pointerBytes {
			return Pointer{}, formats.Errorf(id, "version", 0, formats.ErrNotRecognized, "no pointer")
		}
	}
	var p Pointer
	size := false
	for line := range strings.Lines(rest) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		switch key {
		case "oid":
			digest, ok := strings.CutPrefix(value, "sha256:")
			if b, err := hex.DecodeString(digest); !ok || err != nil || len(b) != 32 {
				return Pointer{}, formats.Errorf(id, "oid", -1, formats.ErrMalformed, "%.100q", value)
			}
			p.SHA256 = strings.ToLower(digest)
		case "size":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 {
				return Pointer{}, formats.Errorf(id, "size", -1, formats.ErrMalformed, "%.100q", value)
			}
			p.Size, size = n, true
		}
	}
	if p.SHA256 == "" || !size {
		return Pointer{}, formats.Errorf(id, "oid", -1, formats.ErrTruncated, "no digest or no size")
	}
	return p, nil
}

// Object is the path of the file of a pointer below the folder of a repository,
// with slashes.
func (p Pointer) Object() string {
	if len(p.SHA256) != 64 {
		return ""
	}
	return ".git/lfs/objects/" + p.SHA256[:2] + "/" + p.SHA256[2:4] + "/" + p.SHA256
}

// Decoder reads a pointer as a Model without tensors.
type Decoder struct{}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return id }

// Sniff implements formats.Decoder.
func (Decoder) Sniff(head []byte) bool {
	return bytes.HasPrefix(head, []byte(prefix)) || bytes.HasPrefix(head, []byte(oldPrefix))
}

// Decode implements formats.Decoder.
func (Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if src.Size() > pointerBytes {
		return nil, formats.Errorf(id, "version", 0, formats.ErrNotRecognized, "%d bytes are too many for a pointer", src.Size())
	}
	b := make([]byte, src.Size())
	if err := formats.ReadFull(src, b, 0); err != nil {
		return nil, &formats.Error{Format: id, Field: "pointer", Offset: 0, Err: err}
	}
	p, err := Parse(b)
	if err != nil {
		return nil, err
	}
	limits = limits.OrDefault()
	m := &formats.Model{Format: id}
	for _, kv := range [][2]string{{"sha256", p.SHA256}, {"size", strconv.FormatInt(p.Size, 10)}} {
		m.Metadata = append(m.Metadata, formats.KeyValue{Key: formats.Cut(kv[0], limits.NameBytes), Value: formats.Cut(kv[1], limits.NameBytes)})
	}
	m.AddFinding(limits.Findings, formats.Finding{Code: "lfs.pointer", Severity: formats.Unread, Offset: -1,
		Text: fmt.Sprintf("this is a Git LFS pointer; the %d bytes with SHA-256 %s are elsewhere", p.Size, p.SHA256)})
	return m, nil
}
