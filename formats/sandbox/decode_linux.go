package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weightwarden/formats"
)

// Decode decodes src in a child. It returns what formats.Decoders.Decode would;
// a child that crashed, ran out of memory or time, or answered nonsense gives an
// *formats.Error of format "sandbox". The Sources of the Model stay open as long
// as it is held.
func (d *Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	file, done, err := d.descriptor(src)
	if err != nil {
		return nil, err
	}
	defer done()
	spool, err := d.tempFile()
	if err != nil {
		return nil, failure(formats.ErrUnsupported, "no temporary file: %v", err)
	}
	_, siblings := src.(formats.Siblings)
	c := &call{src: src, spool: spool, limits: limits}
	req := request{Limits: limits, Size: src.Size(), Siblings: siblings}
	err = d.run(ctx, req, []*os.File{file, spool}, c.serve)
	if err != nil || c.unpacked == nil { // nothing lies in the spool
		_ = spool.Close()
	}
	if err != nil {
		return nil, err
	}
	return c.model, nil
}

// Probe starts a child that decodes nothing, and returns the restrictions that
// hold for it on this system: "rlimits", "uid=65534", "no_new_privs",
// "landlock=7", "seccomp".
func (d *Decoder) Probe(ctx context.Context) ([]string, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, failure(formats.ErrUnsupported, "%v", err)
	}
	defer null.Close()
	var applied []string
	err = d.run(ctx, request{Probe: true, Limits: formats.DefaultLimits()}, []*os.File{null, null}, func(_ *net.UnixConn, r *decoder) error {
		if r.uint(0xff) != frameProbe {
			return errReply
		}
		for n := r.uint(16); n > 0 && r.err == nil; n-- {
			applied = append(applied, r.text())
		}
		return r.err
	})
	if err != nil {
		return nil, err
	}
	return applied, nil
}

// descriptor returns the open file of src, or of a copy that done closes.
func (d *Decoder) descriptor(src formats.Source) (f *os.File, done func(), err error) {
	if s, ok := src.(Descriptor); ok {
		return s.Descriptor(), func() {}, nil
	}
	if src.Size() > copyBytes {
		return nil, nil, failure(formats.ErrUnsupported, "the file has no descriptor and %d bytes", src.Size())
	}
	f, err = d.tempFile()
	if err != nil {
		return nil, nil, failure(formats.ErrUnsupported, "no temporary file: %v", err)
	}
	done = func() { _ = f.Close() } // a copy without a name
	if _, err := io.Copy(f, io.NewSectionReader(src, 0, src.Size())); err != nil {
		done()
		return nil, nil, failure(formats.ErrTruncated, "copy: %v", err)
	}
	return f, done, nil
}

func (d *Decoder) tempFile() (*os.File, error) {
	f, err := os.CreateTemp(d.config.SpoolDir, "weightwarden-*")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// run starts a child with files as its descriptors, sends req, and lets serve
// talk to it. Whatever happens, the child is gone when run returns.
func (d *Decoder) run(ctx context.Context, req request, files []*os.File, serve func(*net.UnixConn, *decoder) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d.config.Timeout)
	defer cancel()
	conn, theirs, err := socketPair()
	if err != nil {
		return failure(formats.ErrUnsupported, "%v", err)
	}
	defer conn.Close()
	stderr := &tail{max: 4096}
	cmd := d.command(ctx, append([]*os.File{theirs}, files...), stderr)
	err = cmd.Start()
	closed := theirs.Close()
	if err != nil || closed != nil {
		return failure(formats.ErrUnsupported, "the child did not start: %v", errors.Join(err, closed))
	}
	deadline, _ := ctx.Deadline()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // wakes serve
	defer stop()
	err = conn.SetDeadline(deadline)
	if err == nil {
		err = d.talk(conn, req, serve)
	}
	var answer *formats.Error
	if err != nil && !errors.As(err, &answer) {
		_ = cmd.Process.Kill() // it may be dead already
	}
	died := cmd.Wait()
	return outcome(ctx, err, died, stderr, full(cmd.ProcessState, d.config.MemoryBytes))
}

func (d *Decoder) command(ctx context.Context, files []*os.File, stderr io.Writer) *exec.Cmd {
	program := d.config.Program
	if program == "" {
		program = "/proc/self/exe"
	}
	cmd := exec.CommandContext(ctx, program, childArgument)
	cmd.Env = []string{"GOTRACEBACK=single", "GOMAXPROCS=2"}
	cmd.Dir = "/"
	cmd.ExtraFiles = files
	cmd.Stderr = stderr
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

func (d *Decoder) talk(conn *net.UnixConn, req request, serve func(*net.UnixConn, *decoder) error) error {
	req.UID, req.GID, req.MemoryBytes = d.config.UID, d.config.GID, d.config.MemoryBytes
	req.Seconds = int64(d.config.Timeout/time.Second) + 1
	b, err := json.Marshal(req)
	if err != nil {
		return err
	}
	if _, err := conn.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		return err
	}
	return serve(conn, &decoder{r: bufio.NewReaderSize(conn, 64<<10), limits: req.Limits, left: req.Limits.HeaderBytes * replyRatio})
}

// outcome says how a call ended. The child's own error counts, then the clock,
// then how the child died.
func outcome(ctx context.Context, err, died error, stderr *tail, full bool) error {
	var answer *formats.Error
	if err == nil || errors.As(err, &answer) {
		return err
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return failure(formats.ErrLimit, "decoding took too long")
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errReply):
		return failure(formats.ErrMalformed, "%v", err)
	}
	text := stderr.first()
	reason := formats.ErrMalformed
	if full || strings.Contains(text, "out of memory") || signalled(died, unix.SIGXCPU, unix.SIGKILL) {
		reason = formats.ErrLimit
	}
	return failure(reason, "the decoder died on this file (%v): %.300q", died, text)
}

// full reports whether a process had used most of its memory. The Go runtime
// does not always get to say so when it dies of that.
func full(p *os.ProcessState, memory int64) bool {
	if p == nil {
		return false
	}
	u, ok := p.SysUsage().(*syscall.Rusage)
	return ok && int64(u.Maxrss) > memory/1024/4*3 // Maxrss is in KiB
}

func signalled(err error, signals ...syscall.Signal) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return false
	}
	for _, s := range signals {
		if status.Signal() == s {
			return true
		}
	}
	return false
}

func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "decoder"), os.NewFile(uintptr(fds[1]), "decoder")
	c, err := net.FileConn(ours) // a copy
	err = errors.Join(err, ours.Close())
	conn, ok := c.(*net.UnixConn)
	if err != nil || !ok {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn, theirs, nil
}

// tail keeps the first bytes that are written to it, and takes the rest.
type tail struct {
	buf bytes.Buffer
	max int
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p[:min(len(p), t.max-t.buf.Len())])
	return len(p), nil
}

func (t *tail) first() string {
	line, _, _ := strings.Cut(t.buf.String(), "\n")
	return line
}

// call is one Decode while it runs.
type call struct {
	src      formats.Source
	spool    *os.File
	limits   formats.Limits
	siblings []formats.Source
	model    *formats.Model
	unpacked formats.Source
}

const maxSiblings = 4096

// serve answers the child until it has a model or an error.
func (c *call) serve(conn *net.UnixConn, d *decoder) error {
	for range maxSiblings * 2 {
		switch frame := d.uint(0xff); {
		case d.err != nil:
			return d.err
		case frame == frameSibling:
			name := d.text()
			if d.err != nil {
				return d.err
			}
			if err := c.sibling(conn, name); err != nil {
				return err
			}
		case frame == frameNames:
			if d.text(); d.err != nil {
				return d.err
			}
			if err := c.names(conn); err != nil {
				return err
			}
		case frame == frameError:
			return d.failed()
		case frame == frameModel:
			m, err := d.model(c.source)
			c.model = m
			return err
		default:
			return fmt.Errorf("%w: frame %d", errReply, frame)
		}
	}
	return fmt.Errorf("%w: too many requests", errReply)
}

// sibling opens a file beside the model for the child: the size, with the
// descriptor, which is missing where it may not be opened.
func (c *call) sibling(conn *net.UnixConn, name string) error {
	var answer [8]byte
	var oob []byte
	s, err := formats.OpenSibling(c.src, name)
	if f, ok := s.(Descriptor); ok && err == nil {
		binary.LittleEndian.PutUint64(answer[:], uint64(s.Size()))
		oob = unix.UnixRights(int(f.Descriptor().Fd()))
		c.siblings = append(c.siblings, s)
	}
	_, _, err = conn.WriteMsgUnix(answer[:], oob, nil)
	return err
}

func (c *call) names(conn *net.UnixConn) error {
	var text []byte
	if l, ok := c.src.(formats.Lister); ok {
		names, err := l.SiblingNames(c.limits.Members)
		if err != nil {
			names = nil // the child finds none
		}
		for _, n := range names {
			if len(text)+len(n) < maxNames && !strings.Contains(n, "\x00") {
				text = append(append(text, n...), 0)
			}
		}
	}
	_, err := conn.Write(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...))
	return err
}

// source returns the Source of a place that the child names.
func (c *call) source(kind, index uint64) (formats.Source, bool) {
	switch kind {
	case placeFile:
		return c.src, true
	case placeSibling:
		if index < uint64(len(c.siblings)) {
			return c.siblings[index], true
		}
	case placeSpool:
		if c.unpacked == nil {
			info, err := c.spool.Stat()
			if err != nil {
				return nil, false
			}
			c.unpacked = &spoolSource{c.spool, info.Size()}
		}
		return c.unpacked, true
	}
	return nil, false
}

// spoolSource is what a child unpacked.
type spoolSource struct {
	*os.File
	size int64
}

// Size implements formats.Source.
func (s *spoolSource) Size() int64 { return s.size }
