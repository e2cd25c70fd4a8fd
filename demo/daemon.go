//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// daemon is a program of the product that runs beside the demo.
type daemon struct {
	cmd   *exec.Cmd
	lines chan string // standard output
	ended chan struct{}
	mu    sync.Mutex
	log   bytes.Buffer // standard error
}

// start runs a program and collects its output.
func start(name string, args ...string) (*daemon, error) {
	d := &daemon{cmd: exec.Command(name, args...), lines: make(chan string, 1024), ended: make(chan struct{})}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	d.cmd.Stderr = lockedWriter{d}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		sc := bufio.NewScanner(out)
		sc.Buffer(nil, 64<<20)
		for sc.Scan() {
			d.lines <- sc.Text()
		}
		close(d.lines)
		d.cmd.Wait()
		close(d.ended)
	}()
	return d, nil
}

type lockedWriter struct{ d *daemon }

// Write implements io.Writer.
func (w lockedWriter) Write(p []byte) (int, error) {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	return w.d.log.Write(p)
}

// logged waits until standard error contains the text.
func (d *daemon) logged(text string, patience time.Duration) error {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if strings.Contains(d.stderr(), text) {
			return nil
		}
		select {
		case <-d.ended:
			return fmt.Errorf("%s ended:\n%s", filepath.Base(d.cmd.Path), d.stderr())
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s did not say %q within %s:\n%s", filepath.Base(d.cmd.Path), text, patience, d.stderr())
		}
	}
}

func (d *daemon) stderr() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// stop asks the program to end, and kills it when it does not.
func (d *daemon) stop() {
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.ended:
	case <-time.After(5 * time.Second):
		d.cmd.Process.Kill()
		<-d.ended
	}
}

// said waits for a line of standard output that starts with prefix, and returns
// the rest of it.
func (d *daemon) said(prefix string, patience time.Duration) (string, error) {
	late := time.After(patience)
	for {
		select {
		case line, ok := <-d.lines:
			if !ok {
				return "", fmt.Errorf("%s ended:\n%s", filepath.Base(d.cmd.Path), d.stderr())
			}
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				return strings.TrimSpace(rest), nil
			}
		case <-late:
			return "", fmt.Errorf("%s did not say %q within %s:\n%s", filepath.Base(d.cmd.Path), prefix, patience, d.stderr())
		}
	}
}

// tool runs a program of the product to its end and returns its standard output.
func (d *demo) tool(ctx context.Context, stdin, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, name), args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &stderr
	cmd.Env = append(os.Environ(), d.env...)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}
