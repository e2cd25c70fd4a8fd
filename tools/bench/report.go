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

Written by ` + "`make bench`" + `; every figure but the profile was measured in that run, on the machine named. A ratio is the median over
paired runs, one right after the other on the same file in the page cache, so that load by others hits both. *Processor
time* (user and system, of all threads) is shown beside wall time because it is what a busy machine gives up.

- **lean** is what ` + "`fpcheck`" + ` and the agent do when they read a whole file: every byte is read and cut into chunks, one chunk in
  eight is hashed, the rows of the aligned sample and of layer T are decoded and sketched, one tensor in sixteen in full.
- **full** hashes every chunk and sketches every row (layers E, R and T). It is done when something matched and evidence is wanted.
- **triage** reads the header and the sampled rows.

- **register** is full with layer I, which reads the feed-forward weights once more.

Files are read as ` + "`fpcheck`" + ` and the agent read them, so that nothing stays in the page cache that was not there before (RWF_DONTCACHE, else
POSIX_FADV_DONTNEED; a test through mincore holds it).

Kernels exist as plain Go, for AVX2 and, fewer, for NEON; hashing, the cut search and the row sketch have one for AVX-512
(decisions 0570 and 0640). The environment variable WEIGHTWARDEN_SIMD forces a path: pure, avx2, avx512 or neon.

`

const profile = `## Where the time goes

Profiles of lean runs over cached files of 1 GB, one thread, on an AMD EPYC (Zen 3) on 2026-11-22, share of processor time (one matrix
in eight was sketched in full at that time):

| | bf16 | Q4_K |
|---|---|---|
| read(2), the copy out of the page cache | 48 % | 27 % |
| BLAKE3 of one chunk in eight | 6 % | 7 % |
| decoding | 5 % | 13 % |
| row sums and sums of squares | 3 % | 10 % |
| row sketch | 5 % | 8 % |
| chunk cut search | 7 % | 8 % |
| entropy of chunks | 5 % | 4 % |
| the rest: columns, sign bits, runtime | 21 % | 23 % |

The copy out of the page cache is the physical limit beside which all else has to stay small; mapping the file would save it and
let anybody who shortens the file kill the process.
`

func (r *report) text() string { return preface + r.b.String() + profile }

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
