package scan

import (
	"context"
	"os"

	"golang.org/x/time/rate"
)

// throttled is a file as a judge sees it: fixed size, bytes per second bounded.
type throttled struct {
	ctx   context.Context // of one judgement, not longer
	file  *os.File
	size  int64
	limit *rate.Limiter
	count *Counters
}

func newThrottled(ctx context.Context, f *os.File, size int64, limit *rate.Limiter, count *Counters) *throttled {
	return &throttled{ctx: ctx, file: f, size: size, limit: limit, count: count}
}

// Size implements api.File.
func (t *throttled) Size() int64 { return t.size }

// ReadAt implements api.File.
func (t *throttled) ReadAt(p []byte, off int64) (int, error) {
	if err := t.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := t.file.ReadAt(p, off)
	t.count.Bytes.Add(uint64(n))
	if t.limit != nil {
		for left := n; left > 0; {
			step := min(left, t.limit.Burst())
			if werr := t.limit.WaitN(t.ctx, step); werr != nil {
				return 0, werr
			}
			left -= step
		}
	}
	return n, err
}
