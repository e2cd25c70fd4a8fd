//go:build unix

// Demo runs the main job on one machine, with the real programs in bin/: a server
// starts, a model is registered with it, an agent enrols and watches a folder, and
// copies of the model appear there, renamed, converted, quantised, fine-tuned,
// packed and cut. Every one must reach the server as a hit; a model that was trained
// independently must not. Exit code 0 means that this is what happened.
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
	server      *daemon
	agent       *daemon
	url, token  string   // of the server, and the file with its admin token
	env         []string // that fpctl finds the server with
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
	for _, need := range []string{filepath.Join(d.bin, "fpagent"), filepath.Join(d.bin, "fpserver"), filepath.Join(d.bin, "fpctl"), filepath.Join(d.models, "aurora.safetensors")} {
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
	for _, step := range []func(context.Context) error{d.startServer, d.register, d.enrol, d.startAgent} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	deadline, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := d.steal(deadline); err != nil {
		return err
	}
	say("to look around in the console over a made-up fortnight: make demo-data")
	if cli.IsTerminal(os.Stdout) {
		say("the console: %s", d.url)
		say("log in with the token in %s (the certificate is signed by %s)", d.token, d.ca())
		say("both stay up: copy %s into %s under any name; Ctrl-C ends it", filepath.Join(d.models, "aurora.pt"), d.loot)
		return d.watch(ctx)
	}
	return nil
}

// close stops what runs and removes the demo's folder.
func (d *demo) close(keep bool) {
	for _, p := range []*daemon{d.agent, d.server} {
		if p != nil {
			p.stop()
		}
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
