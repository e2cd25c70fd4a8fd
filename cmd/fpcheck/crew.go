package main

import (
	"context"

	"golang.org/x/sync/semaphore"

	"weightwarden/formats/file"
	"weightwarden/internal/api"
	"weightwarden/internal/judge"
)

// aloneFrom is the size from which a file is judged by all cores at once. Of smaller ones each core judges its own:
// to share them out would cost more than the work.
const aloneFrom = 4 << 20

// judged is a file with its verdict, or with what went wrong.
type judged struct {
	path    string
	printer *printer // of the operand that it was found under
	src     *file.File
	subject *judge.Subject
	verdict *api.Verdict
	err     error
}

// crew judges several files at a time and hands them over one by one, in the order in which they were added.
type crew struct {
	size  int64
	slots *semaphore.Weighted
	queue chan chan judged
	done  chan struct{}
}

func newCrew(size int, take func(judged)) *crew {
	c := &crew{size: int64(size), slots: semaphore.NewWeighted(int64(size)), queue: make(chan chan judged, 4*size), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for next := range c.queue {
			take(<-next)
		}
	}()
	return c
}

// add has work done when somebody is free for it, or all are if it is to be done alone. Its error is that of ctx.
func (c *crew) add(ctx context.Context, alone bool, work func() judged) error {
	n := int64(1)
	if alone {
		n = c.size
	}
	if err := c.slots.Acquire(ctx, n); err != nil {
		return err
	}
	next := make(chan judged, 1)
	c.queue <- next
	go func() {
		defer c.slots.Release(n)
		next <- work()
	}()
	return nil
}

// wait returns when everything was handed over.
func (c *crew) wait() {
	close(c.queue)
	<-c.done
}
