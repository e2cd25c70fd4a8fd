// Command nulls measures what independent models reach in the aligned test: every
// pair of independently trained models in testdata, unrelated layers of them, and
// a million resampled trials, against the bound that verdicts rest on. It writes
// docs/nulls.md and docs/nulls.svg; `make nulls` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"weightwarden/fingerprint"
	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/file"
)

func main() {
	data := flag.String("data", "testdata/models", "folder of trained models; families.txt names the independent ones")
	out := flag.String("out", "docs", "folder of the report")
	trials := flag.Int("trials", 1_000_000, "resampled trials, model against model")
	flag.Parse()
	if err := run(*data, *out, *trials); err != nil {
		fmt.Fprintln(os.Stderr, "nulls:", err)
		os.Exit(1)
	}
}

func run(data, out string, trials int) error {
	models, err := load(data)
	if err != nil {
		return err
	}
	if len(models) < 2 {
		return errors.New("at least two independent models are needed")
	}
	r := measure(models, trials)
	r.print(os.Stdout)
	if err := os.WriteFile(filepath.Join(out, "nulls.md"), []byte(r.markdown()), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "nulls.svg"), []byte(r.plot()), 0o644); err != nil {
		return err
	}
	if r.over > 0 {
		return fmt.Errorf("%d independent pairs were taken for copies", r.over)
	}
	return nil
}

// model is a trained model with its origin: models of one origin are related.
type model struct {
	name, origin string
	fp           *fingerprint.Fingerprint
}

// load reads the models that families.txt lists: "file origin" a line.
func load(dir string) ([]model, error) {
	list, err := os.ReadFile(filepath.Join(dir, "families.txt"))
	if err != nil {
		return nil, err
	}
	var out []model
	for line := range lines(string(list)) {
		var name, origin string
		if n, _ := fmt.Sscan(line, &name, &origin); n != 2 {
			continue
		}
		fp, err := compute(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, model{name, origin, fp})
	}
	return out, nil
}

func compute(path string) (*fingerprint.Fingerprint, error) {
	src, err := file.Open(path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	m, err := all.Decoders().Decode(context.Background(), src, formats.DefaultLimits())
	if err != nil {
		return nil, err
	}
	return fingerprint.Compute(context.Background(), src, m, fingerprint.Options{Register: true})
}
