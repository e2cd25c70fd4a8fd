package archive

import (
	"context"
	"fmt"
	"io"
	"math"
	"sync"

	"weightwarden/formats"
)

// ratioFloor is what a member may unpack to whatever its packed size: small
// members of one repeated byte have ratios without meaning.
const ratioFloor = 1 << 20

// Stream is a compressed member.
type Stream struct {
	Format formats.ID
	Name   string
	Packed int64 // compressed bytes, for the ratio
	// Open starts unpacking from the beginning. It is called at most once.
	Open func() (io.Reader, error)
}

// Unpacked is a Source of what a Stream unpacks to. Nothing happens before the
// first Size or ReadAt; then everything is unpacked into the Spool, up to the
// limits or the first defect, which Findings tells.
type Unpacked struct {
	stream   Stream
	ctx      context.Context // of the decoding that this Source was made for
	spool    *formats.Spool
	limits   formats.Limits
	once     sync.Once
	data     formats.Source
	findings []formats.Finding
}

// NewUnpacked returns the Source of s.
func NewUnpacked(ctx context.Context, s Stream, limits formats.Limits) *Unpacked {
	limits = limits.OrDefault()
	return &Unpacked{stream: s, ctx: ctx, spool: formats.SpoolOf(ctx, limits), limits: limits}
}

func (u *Unpacked) unpack() formats.Source {
	u.once.Do(func() {
		u.data = formats.BytesSource(nil)
		r, err := u.stream.Open()
		if err == nil {
			most := int64(math.MaxInt64)
			if u.stream.Packed < (most-ratioFloor)/u.limits.InflateRatio {
				most = u.stream.Packed*u.limits.InflateRatio + ratioFloor
			}
			u.data, err = u.spool.Unpack(u.ctx, r, most)
			if c, ok := r.(io.Closer); ok {
				_ = c.Close() // what was unpacked is there already
			}
		}
		if err != nil {
			u.findings = append(u.findings, formats.Finding{Code: string(u.stream.Format) + ".unpack", Severity: formats.Unread, Offset: -1,
				Text: fmt.Sprintf("member %.200q was unpacked up to byte %d only: %v", u.stream.Name, u.data.Size(), err)})
		}
		u.stream.Open = nil
	})
	return u.data
}

// Size implements formats.Source: the bytes that could be unpacked.
func (u *Unpacked) Size() int64 { return u.unpack().Size() }

// ReadAt implements io.ReaderAt.
func (u *Unpacked) ReadAt(p []byte, off int64) (int, error) { return u.unpack().ReadAt(p, off) }

// Base implements formats.Based.
func (u *Unpacked) Base() (formats.Source, int64) {
	if b, ok := u.unpack().(formats.Based); ok {
		return b.Base()
	}
	return u.data, 0
}

// Findings implements formats.Noticer. It does not unpack.
func (u *Unpacked) Findings() []formats.Finding { return u.findings }
