package uplink

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"weightwarden/internal/api"
)

const (
	batchHits  = 200
	batchBytes = 2 << 20
)

// Spool is where hits wait.
type Spool interface {
	Batch(max int, maxBytes int64) ([]api.Hit, error)
	Ack(seq uint64) error
	SetAside(hit api.Hit, reason string) error
	More() <-chan struct{}
}

// Deliver carries hits to the server until ctx ends. Trouble is told to report,
// which gets nil when things work again.
func (c *Client) Deliver(ctx context.Context, spool Spool, report func(error)) {
	p := newPause(time.Minute)
	batch := batchHits
	for ctx.Err() == nil {
		sent, err := c.deliverOnce(ctx, spool, batch)
		switch {
		case ctx.Err() != nil:
			return
		case tooLarge(err) && batch > 1:
			batch /= 2 // whatever makes it too large is found by halving
		case err != nil:
			report(fmt.Errorf("hits: %w", err))
			p.wait(ctx, err)
		case sent == 0:
			report(nil)
			p.reset()
			batch = batchHits
			select {
			case <-ctx.Done():
			case <-spool.More():
			case <-time.After(time.Minute):
			}
		default:
			p.reset()
		}
	}
}

func tooLarge(err error) bool {
	var s *StatusError
	return errors.As(err, &s) && (s.Status == http.StatusRequestEntityTooLarge || s.Status == http.StatusBadRequest || s.Status == http.StatusUnprocessableEntity)
}

func (c *Client) deliverOnce(ctx context.Context, spool Spool, max int) (int, error) {
	hits, err := spool.Batch(max, batchBytes)
	if err != nil || len(hits) == 0 {
		return 0, err
	}
	var answer api.HitAnswer
	err = c.post(ctx, api.PathHits, api.HitBatch{Hits: hits}, &answer)
	if tooLarge(err) && len(hits) == 1 {
		// The server will never take it: keep it for people, go on with the rest.
		if serr := spool.SetAside(hits[0], err.Error()); serr != nil {
			return 0, serr
		}
		return 1, spool.Ack(hits[0].Seq)
	}
	if err != nil {
		return 0, err
	}
	return len(hits), c.settleAnswer(spool, hits, &answer)
}

func (c *Client) settleAnswer(spool Spool, hits []api.Hit, answer *api.HitAnswer) error {
	last := hits[len(hits)-1].Seq
	done := min(answer.Acknowledged, last)
	refused := map[uint64]string{}
	for _, r := range answer.Rejected {
		refused[r.Seq] = r.Reason
	}
	for _, h := range hits {
		reason, bad := refused[h.Seq]
		if !bad {
			continue
		}
		if err := spool.SetAside(h, reason); err != nil {
			return err
		}
		if h.Seq == done+1 {
			done = h.Seq
		}
	}
	if done < hits[0].Seq {
		return fmt.Errorf("the server acknowledged up to %d of a batch that begins with %d", answer.Acknowledged, hits[0].Seq)
	}
	return spool.Ack(done)
}
