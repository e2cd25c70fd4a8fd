package process

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weightwarden/internal/api"
)

// Proc reads a /proc file system.
type Proc struct {
	Root string // "/proc"; tests give another
}

const (
	noID      = 4294967295 // login uid and session that were never set
	clockTick = 100        // USER_HZ is 100 on every architecture Go runs on
)

// Read describes a running process, without ancestors. Everything is read through
// one descriptor of its folder, so that a recycled pid cannot mix two processes.
func (p Proc) Read(pid int) (*api.Process, error) {
	dir, err := unix.Open(filepath.Join(p.Root, strconv.Itoa(pid)), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	defer unix.Close(dir)
	stat, err := readAt(dir, "stat", 4096)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	out := &api.Process{PID: pid, UID: -1}
	ticks, err := parseStat(stat, out)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	if boot, ok := p.bootTime(); ok {
		started := boot.Add(time.Duration(ticks) * time.Second / clockTick).UTC()
		out.Started = &started
	}
	out.Exe = strings.TrimSuffix(linkAt(dir, "exe"), " (deleted)")
	out.Cwd = linkAt(dir, "cwd")
	if b, err := readAt(dir, "cmdline", 128<<10); err == nil && len(b) > 0 {
		out.Args = cutArgs(strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00"))
	}
	p.readIdentity(dir, out)
	return out, nil
}

func (p Proc) readIdentity(dir int, out *api.Process) {
	if b, err := readAt(dir, "status", 8192); err == nil {
		out.UID = parseUID(b)
	}
	out.LoginUID = readID(dir, "loginuid")
	out.Session = readID(dir, "sessionid")
	if b, err := readAt(dir, "cgroup", 8192); err == nil {
		out.Cgroup, out.Container = parseCgroup(string(b))
	}
}

func readID(dir int, name string) *int {
	b, err := readAt(dir, name, 32)
	if err != nil {
		return nil
	}
	v, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	if err != nil || v == noID {
		return nil
	}
	id := int(v)
	return &id
}

// parseStat reads name, parent and terminal of /proc/PID/stat, and returns the
// start time in ticks since boot. The name is hostile: it may hold ") 1 (".
func parseStat(b []byte, out *api.Process) (uint64, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return 0, fmt.Errorf("stat is %.80q", b)
	}
	out.Name = string(b[open+1 : end])
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 20 {
		return 0, fmt.Errorf("stat has %d fields", len(f))
	}
	out.PPID, _ = strconv.Atoi(f[1])
	if tty, err := strconv.Atoi(f[4]); err == nil && tty != 0 {
		out.TTY = ttyName(uint32(tty))
	}
	return strconv.ParseUint(f[19], 10, 64)
}

func ttyName(dev uint32) string {
	major, minor := dev>>8&0xfff, dev&0xff|dev>>12&0xfff00
	switch {
	case major >= 136 && major <= 143:
		return fmt.Sprintf("pts/%d", (major-136)<<8+minor)
	case major == 4 && minor < 64:
		return fmt.Sprintf("tty%d", minor)
	case major == 4:
		return fmt.Sprintf("ttyS%d", minor-64)
	}
	return fmt.Sprintf("%d:%d", major, minor)
}

func parseUID(status []byte) int {
	for line := range strings.SplitSeq(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				if v, err := strconv.Atoi(f[0]); err == nil {
					return v
				}
			}
		}
	}
	return -1
}

// parseCgroup returns the cgroup path and the container id in it: 64 hex digits,
// as docker, podman, containerd and kubernetes write them.
func parseCgroup(b string) (cgroup, container string) {
	for line := range strings.SplitSeq(b, "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) != 3 {
			continue
		}
		if cgroup == "" && f[2] != "/" || f[0] == "0" && f[2] != "/" {
			cgroup = f[2]
		}
		if container == "" {
			container = containerID(f[2])
		}
	}
	return cgroup, container
}

func containerID(path string) string {
	for start := 0; start < len(path); start++ {
		n := 0
		for start+n < len(path) && isHex(path[start+n]) {
			n++
		}
		if n == 64 {
			return path[start : start+n]
		}
		start += n
	}
	return ""
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }

func (p Proc) bootTime() (time.Time, bool) {
	b, err := os.ReadFile(filepath.Join(p.Root, "stat"))
	if err != nil {
		return time.Time{}, false
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "btime "); ok {
			v, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return time.Unix(v, 0), err == nil
		}
	}
	return time.Time{}, false
}

func readAt(dir int, name string, limit int) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(limit)))
}

func linkAt(dir int, name string) string {
	b := make([]byte, 4096)
	n, err := unix.Readlinkat(dir, name, b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// Chain fills in the ancestors of a process, nearest first.
func (p Proc) Chain(of *api.Process) {
	seen := map[int]bool{of.PID: true}
	for pid := of.PPID; pid > 0 && !seen[pid] && len(of.Ancestors) < maxAncestors; {
		seen[pid] = true
		parent, err := p.Read(pid)
		if err != nil {
			return
		}
		brief := Brief(parent)
		of.Ancestors = append(of.Ancestors, brief)
		pid = parent.PPID
	}
}

// PIDs lists the running processes, newest number first.
func (p Proc) PIDs() []int {
	d, err := os.Open(p.Root)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1) // what could be read is used
	pids := make([]int, 0, len(names))
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			pids = append(pids, pid)
		}
	}
	for i, j := 0, len(pids)-1; i < j; i, j = i+1, j-1 {
		pids[i], pids[j] = pids[j], pids[i]
	}
	return pids
}

// Holders lists the processes other than self that have the file open, writers
// first. It looks at the newest processes first and stops after max writers.
func (p Proc) Holders(id FileID, self, max int) []Holder {
	var writers, readers []Holder
	for _, pid := range p.PIDs() {
		if pid == self {
			continue
		}
		h, ok := p.holds(pid, id)
		switch {
		case ok && h.Writing:
			if writers = append(writers, h); len(writers) >= max {
				return writers
			}
		case ok && len(readers) < max:
			readers = append(readers, h)
		}
	}
	return append(writers, readers...)
}

func (p Proc) holds(pid int, id FileID) (Holder, bool) {
	base := filepath.Join(p.Root, strconv.Itoa(pid))
	found := Holder{PID: pid}
	ok := false
	for n := range Entries(base + "/fd") {
		var st unix.Stat_t
		if unix.Stat(base+"/fd/"+n, &st) != nil || st.Ino != id.Inode || uint64(st.Dev) != id.Dev {
			continue
		}
		ok = true
		if writable(base + "/fdinfo/" + n) {
			found.Writing = true
			break
		}
	}
	return found, ok
}

// writable reads the open flags of a descriptor.
func writable(fdinfo string) bool {
	b, err := os.ReadFile(fdinfo)
	if err != nil {
		return false
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "flags:"); ok {
			v, err := strconv.ParseUint(strings.TrimSpace(rest), 8, 64)
			return err == nil && v&unix.O_ACCMODE != unix.O_RDONLY
		}
	}
	return false
}
