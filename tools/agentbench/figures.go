//go:build linux

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
	"unsafe"

	"golang.org/x/sys/unix"
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

// writers runs cp many times: as fast as may be, while the agent judges what came before,
// and of a small file with pauses, so that each lives about a millisecond. It closes its
// copy by closing or by ending.
func (b *bench) writers(ctx context.Context) error {
	if err := b.copies(ctx, 2000, "1 MiB", b.small, 0); err != nil {
		return err
	}
	return b.copies(ctx, 1000, "128 KiB", b.tiny, 15*time.Millisecond)
}

func (b *bench) copies(ctx context.Context, count int, size, from string, pause time.Duration) error {
	pids := map[string]int{}
	var lived []time.Duration
	before := len(b.hits.all())
	for i := range count {
		to := b.path(fmt.Sprintf("watched/%s-%04d", filepath.Base(from), i))
		cmd := exec.CommandContext(ctx, "cp", from, to)
		began := time.Now()
		if err := cmd.Run(); err != nil {
			return err
		}
		lived = append(lived, time.Since(began))
		pids[to] = cmd.Process.Pid
		time.Sleep(pause)
	}
	err := until(5*time.Minute, func() bool { return len(b.hits.all())-before >= count })
	named, exact := 0, 0
	for _, h := range b.hits.all()[before:] {
		if h.Process == nil || h.Process.PID != pids[h.Verdict.Path] || h.Process.Name != "cp" {
			continue
		}
		if named++; h.Process.Certainty == "exact" {
			exact++
		}
	}
	slices.Sort(lived)
	fmt.Printf("writers: %d runs of cp of %s, one each %v, %.1f ms in the median with start and end: %d hits, %d named rightly (%.2f %%), %d of them exact; %s\n",
		count, size, pause, lived[count/2].Seconds()*1000, len(b.hits.all())-before, named, 100*float64(named)/float64(count), exact, load())
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

// The data set that is streamed.
const shards, shard = 32, 64 << 20

// slice is how long the job streams before the agent is stopped, or goes on: so short
// that other jobs of the machine slow both halves.
const slice = 250 * time.Millisecond

// stream reads a data set again and again from the page cache beside an agent that in
// turns is stopped and goes on, first with nothing to do, then with a large file that
// changes all the time.
func (b *bench) stream(ctx context.Context) error {
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
	if err := until(5*time.Minute, func() bool { s, err := b.status(ctx); return err == nil && s.Files.Judged >= shards }); err != nil {
		return fmt.Errorf("the data set is not judged: %w", err)
	}
	if err := b.pairs("nothing to do", block, func() error { return nil }); err != nil {
		return err
	}
	to := b.path("watched/large")
	if err := os.Rename(b.large, to); err != nil {
		return err
	}
	n := byte(0)
	return b.pairs("a file to judge that changes each time", block, func() error {
		n++
		_, err := changeLast(to, n)
		return err
	})
}

// pairs streams with the agent stopped and not, in turns, and says by how much it was
// slower beside the agent and what of the data set is in memory afterwards.
func (b *bench) pairs(what string, block []byte, work func() error) error {
	var loss []float64
	var rate [2]float64 // MiB a second: stopped, running
	for i := range 10 * b.rounds {
		if err := work(); err != nil {
			return err
		}
		var now [2]float64
		for turn := range 2 {
			running := (turn + i) % 2 // who is first changes
			if err := b.agent.Process.Signal([]os.Signal{unix.SIGSTOP, unix.SIGCONT}[running]); err != nil {
				return err
			}
			var err error
			if now[running], err = readAll(b.path("watched"), block, slice); err != nil {
				return err
			}
			rate[running] += now[running]
		}
		loss = append(loss, 100*(1-now[1]/now[0]))
	}
	if err := b.agent.Process.Signal(unix.SIGCONT); err != nil {
		return err
	}
	slices.Sort(loss)
	in, err := resident(b.path("watched"))
	fmt.Printf("stream: %d x %d MiB from the page cache beside an agent with %s, %d pairs of %v: throughput lower by %.1f %% (all together), %.1f %% (median of the pairs; quartiles %.1f and %.1f); %.1f %% of the data set in memory afterwards; %s\n",
		shards, shard>>20, what, len(loss), slice, 100*(1-rate[1]/rate[0]), loss[len(loss)/2], loss[len(loss)/4], loss[3*len(loss)/4], 100*in, load())
	return err
}

// resident is the share of the data set's pages that are in memory.
func resident(dir string) (float64, error) {
	in, all := 0, 0
	for i := range shards {
		f, err := os.Open(filepath.Join(dir, fmt.Sprintf("shard%02d", i)))
		if err != nil {
			return 0, err
		}
		m, err := unix.Mmap(int(f.Fd()), 0, shard, unix.PROT_READ, unix.MAP_SHARED)
		if err := errors.Join(err, f.Close()); err != nil {
			return 0, err
		}
		pages := make([]byte, shard/os.Getpagesize())
		_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&pages[0])))
		if errno != 0 {
			err = errno
		}
		if err := errors.Join(err, unix.Munmap(m)); err != nil {
			return 0, err
		}
		for _, p := range pages {
			in += int(p & 1)
		}
		all += len(pages)
	}
	return float64(in) / float64(all), nil
}

// readAll reads the shards in turn for a time, and returns MiB a second.
func readAll(dir string, block []byte, span time.Duration) (float64, error) {
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
