// Command bench measures what the fingerprint costs beside the hash that a user would run instead: paired runs over the
// same cached file, triage, decoding, growth with file size and registry size, memory, and the limits of the machine.
// It writes docs/performance.md; `make bench` runs it.
package main

import (
	"flag"
	"fmt"
	"os"
)

// options of a run.
type options struct {
	dir, out, b3sum string
	size, triage    int64
	pairs           int
	largest         int64
	models          int
	only            string
}

func main() {
	var o options
	one := flag.String("one", "", "internal: do one job in this process and print its figures")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "folder for files of -size bytes")
	flag.StringVar(&o.out, "out", "docs/performance.md", "report to write")
	flag.StringVar(&o.b3sum, "b3sum", "", "b3sum program (default: the one in PATH)")
	flag.Int64Var(&o.size, "size", 4<<30, "bytes of the test files")
	flag.Int64Var(&o.triage, "triage", 0, "bytes of a real file that is triaged beside b3sum, which should fit the page cache (0: none)")
	flag.IntVar(&o.pairs, "pairs", 5, "paired runs of each comparison")
	flag.Int64Var(&o.largest, "largest", 100<<30, "bytes of the largest synthetic file that is fingerprinted in whole")
	flag.IntVar(&o.models, "models", 1000, "models of the largest registry")
	flag.StringVar(&o.only, "only", "", "run this section alone: machine, compare, profile, growth, triage, decoding or lookups")
	flag.Parse()
	err := error(nil)
	if *one != "" {
		err = runOne(*one)
	} else {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	r := &report{}
	sections := []struct {
		name string
		run  func(options, *report) error
	}{{"machine", machine}, {"compare", compare}, {"profile", profile}, {"growth", growth}, {"triage", triage}, {"decoding", decoding}, {"lookups", lookups}}
	for _, section := range sections {
		if o.only != "" && o.only != section.name {
			continue
		}
		if err := section.run(o, r); err != nil {
			return err
		}
		fmt.Print(r.fresh())
		if err := os.WriteFile(o.out, []byte(r.text()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
