package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"weightwarden/fingerprint"
	"weightwarden/formats"
)

// growth fingerprints synthetic files of growing size.
func growth(o options, r *report) error {
	r.printf("## Growth with the size of the file\n\nSynthetic bf16 files that take no room: reading is a copy in memory. %d threads.\n\n", runtime.NumCPU())
	var rows [][]string
	for n := int64(100 << 20); n <= o.largest; n *= 10 {
		c, err := job{DType: formats.BF16, Size: n, Mode: "lean"}.measure()
		if err != nil {
			return err
		}
		rows = append(rows, []string{size(c.Read), fmt.Sprintf("%.2f s", c.Wall), fmt.Sprintf("%.2f s", c.Processor),
			fmt.Sprintf("%.3f s", c.Processor/float64(c.Read)*1e9), size(c.Memory)})
	}
	r.table([]string{"lean, bytes read", "wall", "processor", "processor per GB", "memory"}, rows)
	return memory(o, r)
}

// memory tells what the largest file takes in each way of working. So much Q4_K holds 190 G parameters in 6,000 tensors.
func memory(o options, r *report) error {
	r.printf("Memory of the process for the largest of them; of such bytes read as Q4_K, too, which is three times the tensors:\n\n")
	var rows [][]string
	for _, d := range []formats.DType{formats.BF16, formats.Q4_K} {
		row := []string{d.String(), fmt.Sprint(len(network(d, o.largest)))}
		for _, mode := range []string{"triage", "lean", "full"} {
			c, err := job{DType: d, Size: o.largest, Mode: mode}.measure()
			if err != nil {
				return err
			}
			row = append(row, size(c.Memory))
		}
		rows = append(rows, row)
	}
	r.table([]string{size(o.largest), "tensors", "triage", "lean", "full"}, rows)
	return nil
}

// triage looks at sampled rows of synthetic files.
func triage(o options, r *report) error {
	r.printf("## Triage\n\nSynthetic bf16 files that take no room, one thread.\n\n")
	var rows [][]string
	for _, n := range []int64{100e6, 1e9, 13.5e9, 100e9, 140e9} {
		c, err := job{DType: formats.BF16, Size: n, Mode: "triage", Jobs: 1}.measure()
		if err != nil {
			return err
		}
		shapes := network(formats.BF16, n)
		rows = append(rows, []string{size(bytesOf(formats.BF16, shapes)), fmt.Sprint(len(shapes)), size(c.Read),
			fmt.Sprintf("%.2f %%", 100*float64(c.Read)/float64(bytesOf(formats.BF16, shapes))), fmt.Sprintf("%.3f s", c.Wall), fmt.Sprintf("%.2f s", c.Processor), size(c.Memory)})
	}
	r.table([]string{"file", "tensors", "read", "share", "wall", "processor", "memory"}, rows)
	return triagePairs(o, r)
}

// triagePairs runs triage of a real file in the page cache beside the hash of it.
func triagePairs(o options, r *report) error {
	if o.triage == 0 {
		return nil
	}
	b3sum, err := find("b3sum", o.b3sum)
	if err != nil {
		return err
	}
	path := filepath.Join(o.dir, "weightwarden-bench-triage")
	defer os.Remove(path)
	shapes := network(formats.BF16, o.triage)
	if err := synthesise(path, formats.BF16, shapes); err != nil {
		return err
	}
	var rows [][]string
	for _, threads := range []int{1, runtime.NumCPU()} {
		row, err := pairs(o, job{File: path, DType: formats.BF16, Size: o.triage, Mode: "triage", Jobs: threads}, "b3sum",
			b3sum, "--num-threads", strconv.Itoa(threads), path)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	r.printf("A real file of %s in the page cache, %d pairs each:\n\n", size(bytesOf(formats.BF16, shapes)), o.pairs)
	r.table(pairColumns(), rows)
	return nil
}

// decoding decodes every type to float32, one core.
func decoding(_ options, r *report) error {
	r.printf("## Decoding\n\nTo float32, one core, 4096 values at a time, best of 20. GB/s of the packed bytes, and values a second.\n\n")
	const values = 4096
	dst := make([]float32, values)
	g := rand.New(rand.NewPCG(5, 6))
	var rows [][]string
	for d := range formats.DType(2000) {
		n, ok := d.Bytes(values)
		src := make([]byte, max(n, 0))
		for i := range src {
			src[i] = byte(g.Uint32())
		}
		if d == formats.Unknown || !ok || fingerprint.DecodeValues(d, dst, src) != nil {
			continue
		}
		best := time.Hour
		for range 20 {
			start := time.Now()
			for range 50 {
				if err := fingerprint.DecodeValues(d, dst, src); err != nil {
					return err
				}
			}
			best = min(best, time.Since(start)/50)
		}
		how := "plain Go"
		if fingerprint.HasKernel(d) {
			how = "kernel"
		}
		rows = append(rows, []string{d.String(), how, gigabytes(n, best.Seconds()), fmt.Sprintf("%.2f G", values/best.Seconds()/1e9)})
	}
	r.table([]string{"type", "by", "packed", "values/s"}, rows)
	return nil
}
