package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"weightwarden/formats"
)

// machine writes what the figures were measured on and its physical limits.
func machine(o options, r *report) error {
	r.printf("## Machine\n\n%s, %d cores, %s/%s, %s. Load of others while measuring: %s\n\n", processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH,
		runtime.Version(), load())
	const n = 256 << 20
	a, b := make([]byte, n), make([]byte, n)
	best := 0.0
	for range 6 {
		start := time.Now()
		copy(b, a)
		best = max(best, n/time.Since(start).Seconds())
	}
	path := filepath.Join(o.dir, "weightwarden-bench-read")
	defer os.Remove(path)
	if err := os.WriteFile(path, a, 0o600); err != nil {
		return err
	}
	cached, err := readRate(path)
	if err != nil {
		return err
	}
	r.table([]string{"physical limit, one core", "best of 6"}, [][]string{
		{"memory to memory copy", fmt.Sprintf("%.1f GB/s", best/1e9)},
		{"read(2) from the page cache, 128 KiB at a time", fmt.Sprintf("%.1f GB/s", cached/1e9)},
	})
	return nil
}

func readRate(path string) (float64, error) {
	best, buf := 0.0, make([]byte, 128<<10)
	for range 6 {
		f, err := os.Open(path)
		if err != nil {
			return 0, err
		}
		start, total := time.Now(), 0
		for {
			n, err := f.Read(buf)
			total += n
			if err != nil {
				break
			}
		}
		best = max(best, float64(total)/time.Since(start).Seconds())
		f.Close()
	}
	return best, nil
}

// processor names the processor, as far as the system tells.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "processor unknown"
}

func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown."
	}
	return "load average " + strings.Fields(string(text))[0] + "."
}

// compare runs pairs: the fingerprint, then the hash.
func compare(o options, r *report) error {
	b3sum, err := find("b3sum", o.b3sum)
	if err != nil {
		return err
	}
	_, version, err := measure(b3sum, "--version")
	if err != nil {
		return err
	}
	r.printf("## Against the hash\n\n%s, files of %s in the page cache, %d pairs each. Below 1 is faster than the hash.\n\n",
		strings.TrimSpace(string(version)), size(o.size), o.pairs)
	var rows [][]string
	for _, d := range []formats.DType{formats.BF16, formats.Q4_K} {
		path := filepath.Join(o.dir, "weightwarden-bench-"+d.String())
		defer os.Remove(path)
		if err := synthesise(path, d, network(d, o.size)); err != nil {
			return err
		}
		for _, mode := range []string{"lean", "full", "register"} {
			for _, threads := range []int{1, runtime.NumCPU()} {
				row, err := pairs(o, job{File: path, DType: d, Size: o.size, Mode: mode, Jobs: threads}, "b3sum",
					b3sum, "--num-threads", strconv.Itoa(threads), path)
				if err != nil {
					return err
				}
				rows = append(rows, row)
			}
		}
		more := []job{{File: path, DType: d, Size: o.size, Mode: "lean", Jobs: 1}}
		if d == formats.BF16 {
			look := job{File: path, DType: d, Size: o.size, Mode: "triage", Jobs: 1}
			row, err := pairs(o, look, "b3sum", b3sum, "--num-threads", "1", path)
			if err != nil {
				return err
			}
			rows, more = append(rows, row), append(more, look)
		}
		sha, err := find("sha256sum", "")
		if err != nil {
			continue
		}
		few := o
		few.pairs = 1 // the difference is too large to miss
		for _, j := range more {
			row, err := pairs(few, j, "sha256sum", sha, path)
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
	}
	r.table(pairColumns(), rows)
	return nil
}

// pairColumns are the heads of what pairs returns.
func pairColumns() []string {
	return []string{"file", "work", "threads", "against", "wall time ratio", "processor time ratio", "wall", "processor", "hash: wall", "hash: processor", "memory"}
}

// pairs runs job and program in turn and makes a row of the table.
func pairs(o options, j job, name, program string, args ...string) ([]string, error) {
	var ours, theirs []cost
	for i := range o.pairs + 1 {
		a, err := j.measure()
		if err != nil {
			return nil, err
		}
		b, _, err := measure(program, args...)
		if err != nil {
			return nil, err
		}
		if i > 0 { // the first warms the cache
			ours, theirs = append(ours, a), append(theirs, b)
		}
	}
	seconds := func(costs []cost, pick func(cost) float64) string {
		return fmt.Sprintf("%.2f s", median(costs, func(i int) float64 { return pick(costs[i]) }))
	}
	wall, processor := func(c cost) float64 { return c.Wall }, func(c cost) float64 { return c.Processor }
	return []string{j.DType.String(), j.Mode, strconv.Itoa(j.Jobs), name,
		fmt.Sprintf("**%.3g**", median(ours, func(i int) float64 { return ours[i].Wall / theirs[i].Wall })),
		fmt.Sprintf("%.2f", median(ours, func(i int) float64 { return ours[i].Processor / theirs[i].Processor })),
		seconds(ours, wall), seconds(ours, processor), seconds(theirs, wall), seconds(theirs, processor),
		size(int64(median(ours, func(i int) float64 { return float64(ours[i].Memory) })))}, nil
}
