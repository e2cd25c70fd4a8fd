//go:build linux

// Command agentbench measures what fpagent costs and misses on this machine, with
// the programs of bin/ (make build), as root:
//
//	go run ./tools/agentbench -bin bin
//
// It starts an agent of its own on a folder of its own and prints one line a
// figure. The machine's load at the time stands beside it.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	bin := flag.String("bin", "bin", "`DIR` of the programs")
	dir := flag.String("dir", os.TempDir(), "`DIR` on the file system to measure on")
	only := flag.String("only", "", "one of the figures: idle, writers, closes, deletes, overflow, stream, verdict")
	span := flag.Duration("for", 30*time.Second, "how long closes are made, and half of how long the agent idles")
	large := flag.Int64("large", 512<<20, "bytes of the large file")
	rounds := flag.Int("rounds", 20, "how often the large file is changed, and a tenth of the pairs of the streaming job")
	flag.Parse()
	b := &bench{bin: *bin, span: *span, rounds: *rounds}
	if err := b.run(context.Background(), *dir, *only, *large); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// figure is one thing to measure. settings are lines of the agent's configuration.
type figure struct {
	name     string
	run      func(context.Context) error
	settings string
}

func (b *bench) figures() []figure {
	return []figure{
		{name: "idle", run: b.idle},
		{name: "writers", run: b.writers, settings: "files: {min_size: 64KiB}\n"},
		{name: "closes", run: b.closes},
		{name: "deletes", run: b.deletes},
		{name: "overflow", run: b.overflow, settings: "limits: {queue: 16}\n"},
		{name: "stream", run: b.stream},
		{name: "verdict", run: b.verdict},
	}
}

func (b *bench) run(ctx context.Context, dir, only string, large int64) error {
	var err error
	if b.work, err = os.MkdirTemp(dir, "agentbench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.work)
	if only != "" && only != "verdict" && only != "stream" {
		large = 2 << 20
	}
	if err := b.prepare(ctx, large); err != nil {
		return err
	}
	for _, f := range b.figures() {
		if only != "" && only != f.name {
			continue
		}
		err := b.configure(f.settings)
		if err == nil {
			err = b.withAgent(ctx, f.run)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// bench is one run of measurements.
type bench struct {
	bin, work          string
	span               time.Duration
	rounds             int
	tiny, small, large string // registered models
	agent              *exec.Cmd
	hits               *hits
}

func (b *bench) path(name string) string { return filepath.Join(b.work, name) }

// prepare makes and registers a small and a large model of random weights.
func (b *bench) prepare(ctx context.Context, large int64) error {
	b.tiny, b.small, b.large = b.path("tiny.safetensors"), b.path("small.safetensors"), b.path("large.safetensors")
	if err := errors.Join(os.Mkdir(b.path("watched"), 0o755), writeModel(b.tiny, 128<<10), writeModel(b.small, 1<<20), writeModel(b.large, large)); err != nil {
		return err
	}
	for _, m := range []string{b.tiny, b.small, b.large} {
		out, err := exec.CommandContext(ctx, filepath.Join(b.bin, "fpcheck"), "registry", "add", "--registry", b.path("r.fpdb"), "--name", filepath.Base(m), "--version", "1", m).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	return nil
}

// configure writes the agent's configuration: the defaults but for the places, and
// what a figure asks for.
func (b *bench) configure(settings string) error {
	config := fmt.Sprintf("state_dir: %s\nregistry: %s\nwatch: {paths: [%s]}\n%s", b.path("state"), b.path("r.fpdb"), b.path("watched"), settings)
	return os.WriteFile(b.path("agent.yaml"), []byte(config), 0o600)
}

// writeModel writes a safetensors file of F32 tensors, 1024 wide.
func writeModel(path string, size int64) error {
	const width, most = 1024, 16 << 20
	var header bytes.Buffer
	header.WriteString("{")
	at := int64(0)
	for i := 0; at < size; i++ {
		n := min(size-at, most)
		if i > 0 {
			header.WriteString(",")
		}
		fmt.Fprintf(&header, `"layer.%d.weight":{"dtype":"F32","shape":[%d,%d],"data_offsets":[%d,%d]}`, i, n/4/width, width, at, at+n)
		at += n
	}
	header.WriteString("}")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	out := append(binary.LittleEndian.AppendUint64(nil, uint64(header.Len())), header.Bytes()...)
	_, err = f.Write(out)
	r := rand.New(rand.NewPCG(uint64(size), 1))
	block := make([]byte, 0, 1<<20)
	for left := size; left > 0 && err == nil; left -= int64(len(block)) {
		block = block[:0]
		for range min(left, 1<<20) / 4 {
			// Weights of about a normal distribution: a sum of uniform ones.
			v := float32(r.Float64()+r.Float64()+r.Float64()+r.Float64()-2) * 0.02
			block = binary.LittleEndian.AppendUint32(block, math.Float32bits(v))
		}
		_, err = f.Write(block)
	}
	return errors.Join(err, f.Close())
}

// withAgent runs f while an agent watches.
func (b *bench) withAgent(ctx context.Context, f func(context.Context) error) (err error) {
	b.hits = &hits{}
	b.agent = exec.CommandContext(ctx, filepath.Join(b.bin, "fpagent"), "run", "--config", b.path("agent.yaml"), "--json")
	b.agent.Stdout = b.hits
	if err := b.agent.Start(); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, b.agent.Process.Signal(os.Interrupt))
		_ = b.agent.Wait() // it was asked to end
	}()
	if err := until(30*time.Second, func() bool { s, err := b.status(ctx); return err == nil && s.State != "" }); err != nil {
		return fmt.Errorf("the agent does not answer: %w", err)
	}
	time.Sleep(2 * time.Second) // the sweep at start
	return f(ctx)
}

// status is what is read of fpagent status --json.
type status struct {
	State string `json:"state"`
	Files struct {
		Closes uint64 `json:"closes_seen"`
		Judged uint64 `json:"judged"`
		Shed   uint64 `json:"left_to_sweep"`
	} `json:"files"`
	Gaps []struct {
		Cause  string     `json:"cause"`
		Closed *time.Time `json:"closed"`
	} `json:"gaps"`
}

// gaps counts the gaps of a cause, and those of them that are still open.
func (s status) gaps(cause string) (all, open int) {
	for _, g := range s.Gaps {
		if g.Cause != cause {
			continue
		}
		all++
		if g.Closed == nil {
			open++
		}
	}
	return all, open
}

func (b *bench) status(ctx context.Context) (status, error) {
	var s status
	out, err := exec.CommandContext(ctx, filepath.Join(b.bin, "fpagent"), "status", "--config", b.path("agent.yaml"), "--json").Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) { // not well is an answer
		return s, err
	}
	return s, json.Unmarshal(out, &s)
}

func until(limit time.Duration, done func() bool) error {
	for end := time.Now().Add(limit); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("not within %v", limit)
		}
	}
	return nil
}

// load is the machine's load, so that a figure can be judged.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "load unknown"
	}
	one, _, _ := strings.Cut(string(b), " ")
	return "load " + one
}

// cpu is the processor time that the agent and its ended children took.
func (b *bench) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.agent.Process.Pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int64
	for _, i := range []int{11, 12, 13, 14} { // utime, stime, cutime, cstime
		v, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += v
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// memory is the resident memory of the agent in MiB.
func (b *bench) memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", b.agent.Process.Pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize()) >> 20, err
}
