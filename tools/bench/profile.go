package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"

	"weightwarden/fingerprint"
	"weightwarden/formats"
	"weightwarden/formats/file"
)

// profiled is how often a file is fingerprinted under the profiler, which looks a hundred times a second.
const profiled = 12

// part of the work, told by the names of the functions that do it.
type part struct {
	name      string
	functions []string
}

// parts lists what a profile is summed up to; the first that fits counts. Page faults and waiting for memory count where
// they happen: in the cut search, which touches every byte first.
func parts() []part {
	return []part{
		{"chunk cut search, with the first touch of every byte", []string{"simd.cutGroups", "simd.findCut", "simd.path.findCut", "simd.path.skipUncut"}},
		{"BLAKE3 of one chunk in eight", []string{"simd.hash", "simd.Hash", "simd.path.hash", "keyhash.", "zeebo/blake3"}},
		{"decoding", []string{"simd.decode", "simd.widen", "simd.path.decode", "simd.path.widen", "simd.block"}},
		{"row sums and sums of squares", []string{"simd.stats", "simd.path.stats", "simd.(*partial)", "sketch.moments"}},
		{"entropy of chunks", []string{"chunk.Plain"}},
		{"row sketch, columns, sign bits", []string{"simd.accumulate", "simd.path.accumulate", "simd.addScaled", "simd.path.addScaled", "sketch."}},
		{"system calls: mapping, asking for what is cached", []string{"syscall"}},
	}
}

// profile tells where the time of lean runs goes.
func profile(o options, r *report) error {
	if _, err := exec.LookPath("go"); err != nil {
		return nil // it reads the profile
	}
	r.printf("## Where the time goes\n\nShare of processor time, profiles of %d lean runs over a cached file of %s, one thread:\n\n", profiled, size(o.size))
	types := []formats.DType{formats.BF16, formats.Q4_K}
	shares := make([]map[string]float64, len(types))
	for i, d := range types {
		path := filepath.Join(o.dir, "weightwarden-bench-"+d.String())
		defer os.Remove(path)
		if err := synthesise(path, d, network(d, o.size)); err != nil {
			return err
		}
		var err error
		if shares[i], err = profileOf(o, job{File: path, DType: d, Size: o.size}); err != nil {
			return err
		}
	}
	var rows [][]string
	for _, p := range append(parts(), part{name: "the rest"}) {
		rows = append(rows, []string{p.name, fmt.Sprintf("%.0f %%", shares[0][p.name]), fmt.Sprintf("%.0f %%", shares[1][p.name])})
	}
	r.table([]string{"", "bf16", "Q4_K"}, rows)
	return nil
}

// profileOf returns the share of each part in percent.
func profileOf(o options, j job) (map[string]float64, error) {
	out := filepath.Join(o.dir, "weightwarden-bench-profile")
	defer os.Remove(out)
	if err := profileRuns(j, out); err != nil {
		return nil, err
	}
	text, err := exec.Command("go", "tool", "pprof", "-top", "-nodecount=1000", "-nodefraction=0", out).Output()
	if err != nil {
		return nil, fmt.Errorf("go tool pprof: %w", err)
	}
	shares := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line) // flat, flat%, sum%, cum, cum%, name
		if len(fields) < 6 || !strings.HasSuffix(fields[1], "%") {
			continue
		}
		share, err := strconv.ParseFloat(strings.TrimSuffix(fields[1], "%"), 64)
		if err != nil {
			continue
		}
		shares[partOf(fields[5])] += share
	}
	return shares, nil
}

// partOf returns the name of the part that a function belongs to.
func partOf(function string) string {
	for _, p := range parts() {
		for _, f := range p.functions {
			if strings.Contains(function, f) {
				return p.name
			}
		}
	}
	return "the rest"
}

// profileRuns fingerprints the file again and again and writes a profile to out.
func profileRuns(j job, out string) error {
	f, err := file.Open(j.File)
	if err != nil {
		return err
	}
	defer f.Close()
	f.LeaveCache()
	to, err := os.Create(out)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := pprof.StartCPUProfile(to); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	m := model(f, j.DType, network(j.DType, j.Size))
	for range profiled {
		if _, err := fingerprint.Compute(context.Background(), f, m, fingerprint.Options{Jobs: 1, Lean: true}); err != nil {
			return err
		}
	}
	return nil
}
