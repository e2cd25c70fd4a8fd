package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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
	Modified time.Time `json:"modified"`
	Verdict  struct {
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
	const count = 2000
	pids := map[string]int{}
	var lived time.Duration
	for i := range count {
		to := b.path(fmt.Sprintf("watched/copy%04d", i))
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
	fmt.Printf("writers: %d runs of cp of 1 MiB, %.1f ms each with start and end: %d hits, %d named rightly (%.2f %%), %d of them exact; %s\n",
		count, lived.Seconds()*1000/count, len(b.hits.all()), named, 100*float64(named)/count, exact, load())
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
	lost, _ := s.gaps("overflow")
	fmt.Printf("closes: %.0f a second for %v: %.1f %% of a core, %d overflows; %s\n", float64(made)/took.Seconds(), took.Round(time.Second),
		100*float64(after-before)/float64(took), lost, load())
	return err
}

// verdict changes the last byte of a large copy and waits for its hit: from close
// to line. The full reading that follows a verdict by samples is not waited for: it
// goes on beside the next change, or begins anew.
func (b *bench) verdict(ctx context.Context) error {
	to := b.path("watched/large")
	if err := os.Rename(b.large, to); err != nil {
		return err
	}
	if err := b.settle(ctx); err != nil {
		return err
	}
	var took []time.Duration
	for i := range b.rounds {
		modified, err := changeLast(to, byte(i))
		if err != nil {
			return err
		}
		closed := time.Now()
		var came time.Time
		err = until(5*time.Minute, func() bool {
			for _, h := range b.hits.all() {
				if h.Modified.Equal(modified) {
					came = h.came
					return true
				}
			}
			return false
		})
		if err != nil {
			return err
		}
		took = append(took, came.Sub(closed))
	}
	slices.Sort(took)
	info, err := os.Stat(to)
	if err != nil {
		return err
	}
	fmt.Printf("verdict: a copy of %d MiB, close to hit: median %v, 99 %% of %d within %v, worst %v; %s\n", info.Size()>>20, took[len(took)/2].Round(time.Millisecond),
		len(took), took[(len(took)*99+99)/100-1].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), load())
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

// changeLast changes the last byte of a file, and returns the modification time
// that it has then.
func changeLast(path string, v byte) (time.Time, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return time.Time{}, err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt([]byte{v}, info.Size()-1)
	}
	if err == nil {
		info, err = f.Stat()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// deletes makes small files and deletes each at once, as fast as one thread can.
func (b *bench) deletes(ctx context.Context) error {
	const count = 50000
	first, err := b.status(ctx)
	if err != nil {
		return err
	}
	before, err := b.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	for i := range count {
		name := b.path(fmt.Sprintf("watched/d%05d", i))
		if err := errors.Join(os.WriteFile(name, []byte("x"), 0o600), os.Remove(name)); err != nil {
			return err
		}
	}
	took := time.Since(began)
	var last status
	err = until(time.Minute, func() bool {
		time.Sleep(200 * time.Millisecond)
		var serr error
		last, serr = b.status(ctx)
		return serr == nil && last.Files.Closes-first.Files.Closes >= count
	})
	after, cerr := b.cpu()
	overflows, _ := last.gaps("overflow")
	fmt.Printf("deletes: %d files made and deleted in %v: %d closings seen on the file system, %d overflows, %.1f s of processor; %s\n", count, took.Round(time.Millisecond),
		last.Files.Closes-first.Files.Closes, overflows, (after - before).Seconds(), load())
	return errors.Join(err, cerr)
}

// overflow writes many more copies at once than the agent's queue holds: it must
// find them all by the sweeps that close the gaps.
func (b *bench) overflow(ctx context.Context) error {
	const count = 500
	model, err := os.ReadFile(b.small)
	if err != nil {
		return err
	}
	began := time.Now()
	names := map[string]bool{}
	for i := range count {
		name := b.path(fmt.Sprintf("watched/o%04d", i))
		names[name] = true
		if err := os.WriteFile(name, model, 0o600); err != nil {
			return err
		}
	}
	wrote := time.Since(began)
	var s status
	err = until(10*time.Minute, func() bool {
		time.Sleep(200 * time.Millisecond)
		found := 0
		for _, h := range b.hits.all() {
			if names[h.Verdict.Path] {
				found++
			}
		}
		var serr error
		s, serr = b.status(ctx)
		_, open := s.gaps("overflow")
		return serr == nil && found == count && open == 0
	})
	all, open := s.gaps("overflow")
	fmt.Printf("overflow: %d copies written in %v to an agent whose queue holds 16: %d shed, %d gaps, %d still open; all found, each reported once: %v, after %v; %s\n", count,
		wrote.Round(time.Millisecond), s.Files.Shed, all, open, err == nil && len(b.hits.all()) == count, time.Since(began).Round(time.Millisecond), load())
	return err
}

// stream reads a data set again and again from the page cache, in turns with and
// without an agent beside it.
func (b *bench) stream(ctx context.Context) error {
	const shards, shard = 32, 64 << 20
	block := make([]byte, 1<<20)
	for i := range shards {
		f, err := os.Create(b.path(fmt.Sprintf("watched/shard%02d", i)))
		if err != nil {
			return err
		}
		for range shard / len(block) {
			_, werr := f.Write(block)
			err = errors.Join(err, werr)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	var loss []float64
	for i := range b.rounds {
		var with, without float64
		measure := func(into *float64) func(context.Context) error {
			return func(context.Context) (err error) {
				*into, err = readAll(b.path("watched"), shards, block, b.span)
				return err
			}
		}
		turns := []func() error{
			func() error { return measure(&without)(ctx) },
			func() error { return b.withAgent(ctx, measure(&with)) },
		}
		if i%2 == 1 { // who is first changes, so that a trend of the machine is no difference
			slices.Reverse(turns)
		}
		for _, turn := range turns {
			if err := turn(); err != nil {
				return err
			}
		}
		loss = append(loss, 100*(1-with/without))
		fmt.Printf("  pair %d: %.0f MiB/s without, %.0f with\n", i+1, without, with)
	}
	slices.Sort(loss)
	fmt.Printf("stream: %d shards of %d MiB from the page cache, %d pairs of %v: throughput with the agent lower by %.1f %% (median; %.1f to %.1f); %s\n",
		shards, shard>>20, b.rounds, b.span, loss[len(loss)/2], loss[0], loss[len(loss)-1], load())
	return nil
}

// readAll reads the shards in turn for a time, and returns MiB a second.
func readAll(dir string, shards int, block []byte, span time.Duration) (float64, error) {
	began := time.Now()
	var n int64
	for i := 0; time.Since(began) < span; i++ {
		f, err := os.Open(filepath.Join(dir, fmt.Sprintf("shard%02d", i%shards)))
		if err != nil {
			return 0, err
		}
		for err == nil {
			var k int
			k, err = f.Read(block)
			n += int64(k)
		}
		if cerr := f.Close(); cerr != nil || !errors.Is(err, io.EOF) {
			return 0, errors.Join(err, cerr)
		}
	}
	return float64(n) / (1 << 20) / time.Since(began).Seconds(), nil
}
