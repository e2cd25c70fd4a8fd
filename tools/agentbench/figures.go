package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// hit is one line of the agent, and when it came.
type hit struct {
	Process *struct {
		PID       int    `json:"pid"`
		Name      string `json:"name"`
		Certainty string `json:"certainty"`
	} `json:"process"`
	Verdict struct {
		Path string `json:"path"`
	} `json:"verdict"`
	came time.Time
}

// hits collects the lines that the agent prints.
type hits struct {
	mu   sync.Mutex
	rest []byte
	list []hit
}

// Write implements io.Writer.
func (h *hits) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rest = append(h.rest, p...)
	for {
		line, rest, ok := bytes.Cut(h.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		h.rest = rest
		one := hit{came: time.Now()}
		if json.Unmarshal(line, &one) == nil {
			h.list = append(h.list, one)
		}
	}
}

func (h *hits) all() []hit {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.list)
}

// idle measures an agent that has nothing to do but the life of the machine.
func (b *bench) idle(context.Context) error {
	before, err := b.cpu()
	if err != nil {
		return err
	}
	time.Sleep(2 * b.span)
	after, err := b.cpu()
	if err != nil {
		return err
	}
	mib, err := b.memory()
	fmt.Printf("idle: %.2f %% of a core, %d MiB resident, over %v; %s\n", 100*float64(after-before)/float64(2*b.span), mib, 2*b.span, load())
	return err
}

// writers runs cp many times: it lives about a millisecond and closes its copy by
// closing or by ending.
func (b *bench) writers(ctx context.Context) error {
	const count = 500
	pids := map[string]int{}
	var lived time.Duration
	for i := range count {
		to := b.path(fmt.Sprintf("watched/copy%03d", i))
		cmd := exec.CommandContext(ctx, "cp", b.small, to)
		began := time.Now()
		if err := cmd.Run(); err != nil {
			return err
		}
		lived += time.Since(began)
		pids[to] = cmd.Process.Pid
	}
	err := until(5*time.Minute, func() bool { return len(b.hits.all()) >= count })
	named, exact := 0, 0
	for _, h := range b.hits.all() {
		if h.Process == nil || h.Process.PID != pids[h.Verdict.Path] || h.Process.Name != "cp" {
			continue
		}
		if named++; h.Process.Certainty == "exact" {
			exact++
		}
	}
	fmt.Printf("writers: %d runs of cp of 1 MiB, %.1f ms each with start and end: %d hits, %d named rightly, %d of them exact; %s\n",
		count, lived.Seconds()*1000/count, len(b.hits.all()), named, exact, load())
	return err
}

// closes opens and closes small files for writing, 20,000 times a second.
func (b *bench) closes(ctx context.Context) error {
	const rate, files = 20000, 100
	for i := range files {
		if err := os.WriteFile(b.path(fmt.Sprintf("watched/f%02d", i)), []byte("x"), 0o600); err != nil {
			return err
		}
	}
	before, err := b.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	made := 0
	for time.Since(began) < b.span {
		for range rate / 100 {
			f, err := os.OpenFile(b.path(fmt.Sprintf("watched/f%02d", made%files)), os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			if err := f.Close(); err != nil {
				return err
			}
			made++
		}
		time.Sleep(time.Until(began.Add(time.Duration(made) * time.Second / rate)))
	}
	took := time.Since(began)
	after, err := b.cpu()
	if err != nil {
		return err
	}
	s, err := b.status(ctx)
	lost := 0
	for _, g := range s.Gaps {
		if g.Cause == "overflow" {
			lost++
		}
	}
	fmt.Printf("closes: %.0f a second for %v: %.1f %% of a core, %d overflows; %s\n", float64(made)/took.Seconds(), took.Round(time.Second),
		100*float64(after-before)/float64(took), lost, load())
	return err
}

// verdict changes the last byte of a large copy and waits for its hit: from close
// to line. The full reading that follows a verdict by samples is not waited for,
// but it ends before the next change.
func (b *bench) verdict(ctx context.Context) error {
	const rounds = 20
	to := b.path("watched/large")
	if err := exec.CommandContext(ctx, "cp", b.large, to).Run(); err != nil {
		return err
	}
	var took []time.Duration
	for i := range rounds + 1 {
		if err := b.settle(ctx); err != nil {
			return err
		}
		have := len(b.hits.all())
		if err := changeLast(to, byte(i)); err != nil {
			return err
		}
		closed := time.Now()
		if err := until(time.Minute, func() bool { return len(b.hits.all()) > have }); err != nil {
			return err
		}
		if i > 0 {
			took = append(took, b.hits.all()[have].came.Sub(closed))
		}
	}
	slices.Sort(took)
	info, err := os.Stat(to)
	if err != nil {
		return err
	}
	fmt.Printf("verdict: a copy of %d MiB, close to hit: median %v, worst of %d %v; %s\n", info.Size()>>20, took[len(took)/2].Round(time.Millisecond),
		len(took), took[len(took)-1].Round(time.Millisecond), load())
	return nil
}

// settle waits until the agent judges nothing more.
func (b *bench) settle(ctx context.Context) error {
	var last uint64
	quiet := time.Now()
	return until(5*time.Minute, func() bool {
		before, err := b.cpu()
		time.Sleep(500 * time.Millisecond)
		after, err2 := b.cpu()
		s, err3 := b.status(ctx)
		if errors.Join(err, err2, err3) != nil || s.Files.Judged != last || after-before > 50*time.Millisecond {
			last, quiet = s.Files.Judged, time.Now()
		}
		return time.Since(quiet) > time.Second
	})
}

func changeLast(path string, v byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt([]byte{v}, info.Size()-1)
	}
	return errors.Join(err, f.Close())
}
