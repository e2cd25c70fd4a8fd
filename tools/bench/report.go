package main

import (
	"fmt"
	"strings"
)

// report collects Markdown.
type report struct {
	b     strings.Builder
	shown int
}

func (r *report) printf(format string, args ...any) { fmt.Fprintf(&r.b, format, args...) }

// table writes a table; rows have as many cells as head.
func (r *report) table(head []string, rows [][]string) {
	r.printf("| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, row := range rows {
		r.printf("| %s |\n", strings.Join(row, " | "))
	}
	r.printf("\n")
}

// fresh returns what was written since the last call.
func (r *report) fresh() string {
	s := r.b.String()[r.shown:]
	r.shown = r.b.Len()
	return s
}

const preface = `# Performance

Written by ` + "`make bench`" + `; every figure but those of the last section was measured on the machine named. A ratio is the median over
paired runs, one right after the other on the same file in the page cache, so that load by others hits both. *Processor
time* (user and system, of all threads) is shown beside wall time because it is what a busy machine gives up.

- **lean** is what ` + "`fpcheck`" + ` and the agent do when they read a whole file: every byte is read and cut into chunks, one chunk in
  eight is hashed, the rows of the aligned sample and of layer T are decoded and sketched, one tensor in sixteen in full.
  It makes all layers (E, R and T) and is what decides; a file is one pass.
- **full** hashes every chunk and sketches every row. It is done when something matched and evidence is wanted: it hashes as much as b3sum and
  decodes everything besides, so it takes longer than b3sum.
- **register** is full with layer I, which reads the feed-forward weights once more.
- **triage** reads the header and the sampled rows.

Files are read as ` + "`fpcheck`" + ` and the agent read them, so that nothing stays in the page cache that was not there before (RWF_DONTCACHE, else
POSIX_FADV_DONTNEED; a test through mincore holds it). What the page cache holds is used where it lies, without a copy (decision 0670).

Kernels exist as plain Go, for AVX2 and, fewer, for NEON; hashing, the cut search, the row sketch, the row statistics, BF16 and Q4_K
have one for AVX-512 (decisions 0570, 0640 and 0671). The environment variable WEIGHTWARDEN_SIMD forces a path: pure, avx2, avx512 or neon.

`

const elsewhere = `## On another machine

Intel Xeon (AVX-512, model 167), a virtual machine of 2 cores, 2026-11-26, other programs running, medians of 9 runs in turn with b3sum 1.8.7, before Q4_K and
the row statistics had kernels for AVX-512; wall time of lean to that of b3sum, files in the page cache:

| | 1 GB, one thread | 4 GB, one thread | 4 GB, two threads |
|---|---|---|---|
| bf16 | .90 | .78 | .84 |
| Q4_K | 1.15 | 1.11 | 1.18 |

`

func (r *report) text() string { return preface + r.b.String() + elsewhere }

func gigabytes(bytes int64, seconds float64) string {
	return fmt.Sprintf("%.2f GB/s", float64(bytes)/seconds/1e9)
}

func size(bytes int64) string {
	switch {
	case bytes >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(bytes)/1e9)
	case bytes >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
	}
	return fmt.Sprintf("%.1f kB", float64(bytes)/1e3)
}
