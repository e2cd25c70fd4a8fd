package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"weightwarden/fingerprint"
	"weightwarden/formats"
	"weightwarden/formats/file"
)

// job is a fingerprint made in a process of its own, so that its processor time and memory can be told.
type job struct {
	File  string // "": synthetic bf16 of Size bytes that takes no room
	DType formats.DType
	Size  int64
	Mode  string // "lean", "full", "register" or "triage"
	Jobs  int    // 0: all cores
}

// cost of a job or program.
type cost struct {
	Wall, Processor float64 // seconds
	Memory          int64   // largest resident set, bytes
	Read            int64   // bytes, of jobs
}

// runOne does the job in text and prints its cost. Wall is that of the fingerprint alone.
func runOne(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	shapes := network(j.DType, j.Size)
	var src formats.Source
	if j.File == "" {
		src = newEndless(bytesOf(j.DType, shapes))
	} else {
		f, err := file.Open(j.File)
		if err != nil {
			return err
		}
		defer f.Close()
		f.LeaveCache() // as fpcheck and the agent read
		src = f
	}
	debug.SetGCPercent(20) // as fpcheck
	start := time.Now()
	fp, err := fingerprint.Compute(context.Background(), src, model(src, j.DType, shapes), fingerprint.Options{
		Jobs: j.Jobs, Quick: j.Mode == "triage", Lean: j.Mode == "lean", Register: j.Mode == "register"})
	if err != nil {
		return err
	}
	if fp.UnreadBytes > 0 || len(fp.Notes) > 0 {
		return fmt.Errorf("not everything was read: %v", fp.Notes)
	}
	return json.NewEncoder(os.Stdout).Encode(cost{Wall: time.Since(start).Seconds(), Read: fp.BytesRead, Memory: peak()})
}

// measure runs the job in a child process.
func (j job) measure() (cost, error) {
	text, err := json.Marshal(j)
	if err != nil {
		return cost{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return cost{}, err
	}
	c, out, err := measure(self, "-one", string(text))
	if err != nil {
		return cost{}, err
	}
	var inner cost
	if err := json.Unmarshal(out, &inner); err != nil {
		return cost{}, err
	}
	if j.Mode == "triage" {
		c.Wall = inner.Wall // a start of the process would be most of it
	}
	c.Read, c.Memory = inner.Read, inner.Memory
	return c, nil
}

// peak returns the largest resident set of this process in bytes, 0 where the system does not tell. What a parent learns of
// a child that has ended includes the parent's own pages, from before the child became another program.
func peak() int64 {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}

// measure runs a program and tells its cost and its output.
func measure(program string, args ...string) (cost, []byte, error) {
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	start := time.Now()
	out, err := cmd.Output()
	if err != nil {
		return cost{}, nil, fmt.Errorf("%s: %w", program, err)
	}
	s := cmd.ProcessState
	return cost{Wall: time.Since(start).Seconds(), Processor: (s.UserTime() + s.SystemTime()).Seconds()}, out, nil
}

// median of the figure that pick takes from each.
func median(costs []cost, pick func(i int) float64) float64 {
	all := make([]float64, len(costs))
	for i := range costs {
		all[i] = pick(i)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

var errNoProgram = errors.New("not found; install it or name it with -b3sum")

// find returns the path of a program, and its version as it prints it.
func find(name, given string) (path string, err error) {
	if given != "" {
		return given, nil
	}
	path, err = exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, errNoProgram)
	}
	return path, nil
}
