package archive

import (
	"io"

	"weightwarden/formats"
)

// Part is a member of a solid block: some bytes of a Source whose size is only
// known once it was unpacked. A block that ends early cuts its members.
type Part struct {
	block       formats.Source
	offset, max int64
}

// NewPart returns the n bytes of block at offset; neither is negative.
func NewPart(block formats.Source, offset, n int64) *Part { return &Part{block, offset, n} }

// Size implements formats.Source.
func (p *Part) Size() int64 { return min(p.max, max(p.block.Size()-p.offset, 0)) }

// ReadAt implements io.ReaderAt.
func (p *Part) ReadAt(b []byte, off int64) (int, error) {
	size := p.Size()
	if off < 0 || off >= size {
		return 0, io.EOF
	}
	if int64(len(b)) <= size-off {
		return p.block.ReadAt(b, p.offset+off)
	}
	n, err := p.block.ReadAt(b[:size-off], p.offset+off)
	if err == nil {
		err = io.EOF
	}
	return n, err
}

// Base implements formats.Based.
func (p *Part) Base() (formats.Source, int64) {
	if b, ok := p.block.(formats.Based); ok {
		src, off := b.Base()
		return src, off + p.offset
	}
	return p.block, p.offset
}

// Findings implements formats.Noticer: what went wrong in the block, told by the
// members that lost something to it.
func (p *Part) Findings() []formats.Finding {
	if n, ok := p.block.(formats.Noticer); ok && p.Size() < p.max {
		return n.Findings()
	}
	return nil
}
