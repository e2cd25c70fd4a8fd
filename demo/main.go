//go:build unix

// Demo runs the main job on one machine, with the real programs in bin/: a model is
// registered, an agent watches a folder, and copies of the model appear there,
// renamed, converted, quantised, fine-tuned, packed and cut. Every one must be
// caught; a model that was trained independently must not be. Exit code 0 means
// that this is what happened.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"weightwarden/internal/cli"
)

// patience is how long all catches together may take.
const patience = 45 * time.Second

func main() {
	bin := flag.String("bin", "bin", "`DIR` with the programs")
	models := flag.String("models", "testdata/models", "`DIR` with the models")
	keep := flag.Bool("keep", false, "keep the demo's folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d, err := newDemo(*bin, *models)
	if err == nil {
		err = d.run(ctx)
		if d.close(*keep); err == nil {
			return
		}
	}
	fmt.Fprintf(os.Stderr, "demo: %v\n", err)
	os.Exit(1)
}

// demo is one run.
type demo struct {
	bin, models string
	dir         string // everything that the demo makes lies in here
	loot        string // the watched folder
	agent       *daemon
}

func newDemo(bin, models string) (*demo, error) {
	d := &demo{}
	var err error
	if d.bin, err = filepath.Abs(bin); err != nil {
		return nil, err
	}
	if d.models, err = filepath.Abs(models); err != nil {
		return nil, err
	}
	for _, need := range []string{filepath.Join(d.bin, "fpagent"), filepath.Join(d.bin, "fpcheck"), filepath.Join(d.models, "aurora.safetensors")} {
		if _, err := os.Stat(need); err != nil {
			return nil, fmt.Errorf("%w; 'make demo' builds what is needed", err)
		}
	}
	if d.dir, err = os.MkdirTemp("", "weightwarden-demo-"); err != nil {
		return nil, err
	}
	d.loot = filepath.Join(d.dir, "downloads")
	// The thief may be another user: he must get to the folder, and may write there.
	return d, errors.Join(os.Chmod(d.dir, 0o755), os.Mkdir(d.loot, 0o777), os.Chmod(d.loot, 0o777))
}

func (d *demo) run(ctx context.Context) error {
	say("everything stays on this machine, in %s", d.dir)
	if err := d.register(ctx); err != nil {
		return err
	}
	if err := d.startAgent(); err != nil {
		return err
	}
	deadline, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := d.steal(deadline); err != nil {
		return err
	}
	if cli.IsTerminal(os.Stdout) {
		say("the agent stays up: copy %s into %s under any name, and stop with Ctrl-C", filepath.Join(d.models, "aurora.pt"), d.loot)
		return d.watch(ctx)
	}
	return nil
}

// close stops what runs and removes the demo's folder.
func (d *demo) close(keep bool) {
	if d.agent != nil {
		d.agent.stop()
	}
	if keep {
		say("kept %s", d.dir)
		return
	}
	if err := os.RemoveAll(d.dir); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
	}
}

func say(format string, args ...any) { fmt.Printf("# "+format+"\n", args...) }
