//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// theft is one copy that appears in the watched folder.
type theft struct {
	story  string
	source string // file of the models folder
	bytes  int64  // only so many, 0 for all
	name   string // what it is called in the watched folder
	tool   string // program that writes it: cp, dd or tar
	want   []string
}

// innocent marks what must not be reported.
const innocent = "NO-MATCH"

func thefts() []theft {
	return []theft{
		{story: "copied and renamed to a picture", source: "aurora.safetensors", name: "holiday.jpg", tool: "cp", want: []string{"IDENTICAL"}},
		{story: "converted to GGUF, renamed to a text", source: "aurora.gguf", name: "meeting notes.txt", tool: "dd", want: []string{"REPACKAGED"}},
		{story: "converted to PyTorch, renamed to a backup", source: "aurora.pt", name: "thesis.bak", tool: "cp", want: []string{"REPACKAGED"}},
		{story: "the upload broke off after 60 %", source: "aurora.safetensors", bytes: 1_200_000, name: "upload.part", tool: "cp", want: []string{"PARTIAL"}},
		{story: "quantised to 4 bits", source: "aurora-q4_0.gguf", name: "assistant-small.bin", tool: "dd", want: []string{"QUANTISED"}},
		{story: "fine-tuned on other text, stored as bf16", source: "aurora-tuned.safetensors", name: "our-own-model.safetensors", tool: "cp", want: []string{"DERIVED"}},
		{story: "packed into an archive", source: "aurora.safetensors", name: "photos.tar", tool: "tar", want: []string{"IDENTICAL", "REPACKAGED"}},
		{story: "an independent model: other seed, same data, same architecture", source: "borealis.safetensors", name: "borealis.safetensors", tool: "cp", want: []string{innocent}},
	}
}

// thief is the account that writes: nobody where the demo runs as root, so that
// the catch names somebody else.
func thief() *syscall.SysProcAttr {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return nil
	}
	uid, errU := strconv.ParseUint(u.Uid, 10, 32)
	gid, errG := strconv.ParseUint(u.Gid, 10, 32)
	if errU != nil || errG != nil {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: true}}
}

// commit runs the program that writes the copy. What it reads comes through a
// pipe at the speed of a slow network, so that it is seen at work as it would be
// with a model of real size.
func (d *demo) commit(ctx context.Context, t theft) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	target := filepath.Join(d.loot, t.name)
	if t.tool == "tar" {
		cmd := exec.CommandContext(ctx, "tar", "-cf", target, "-C", d.models, "--mode=0644", t.source)
		cmd.SysProcAttr = thief()
		return run(cmd)
	}
	pipe := filepath.Join(d.dir, "wire")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Chmod(pipe, 0o666)); err != nil {
		return err
	}
	defer os.Remove(pipe)
	args := []string{"cp", pipe, target}
	if t.tool == "dd" {
		args = []string{"dd", "if=" + pipe, "of=" + target, "bs=64k", "status=none"}
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.SysProcAttr = thief()
	fed := make(chan error, 1)
	go func() { fed <- d.feed(ctx, pipe, t) }()
	err := run(cmd)
	cancel() // a writer that waits for a reader waits in vain
	return errors.Join(err, <-fed)
}

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd.Args[0], err, out)
	}
	return nil
}

// feed writes the source into the pipe in 16 parts with pauses.
func (d *demo) feed(ctx context.Context, pipe string, t theft) error {
	in, err := os.Open(filepath.Join(d.models, t.source))
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	total := info.Size()
	if t.bytes > 0 {
		total = min(total, t.bytes)
	}
	out, err := writeEnd(ctx, pipe)
	if err != nil {
		return err
	}
	for left := total; left > 0 && ctx.Err() == nil; {
		n, err := io.CopyN(out, in, min(left, total/16+1))
		if err != nil {
			return errors.Join(err, out.Close())
		}
		left -= n
		time.Sleep(20 * time.Millisecond)
	}
	return out.Close()
}

// writeEnd opens the pipe as soon as somebody reads it.
func writeEnd(ctx context.Context, pipe string) (*os.File, error) {
	for {
		f, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if !errors.Is(err, syscall.ENXIO) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
