package agent_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weightwarden/agent/agenttest"
)

// carriers are the ways to carry a copy away without writing a file. The program
// runs as the test binary under a name of its own.
func carriers() map[string]struct {
	program string
	hit     string // what the line of the hit holds; "": there is none
} {
	return map[string]struct{ program, hit string }{
		"scp":                              {"scp", "process=scp\n"},
		"rclone":                           {"rclone", "process=rclone\n"},
		"curl":                             {"curl", "process=curl\n"},
		"script with a connection":         {"python3.11", "process=python3.11\n"},
		"script that maps it":              {"python3.12", "process=python3.12\n"},
		"script that connects afterwards":  {"python3.13", "process=python3.13\n"},
		"script without a connection":      {"python3.14", ""},
		"viewer":                           {"less", ""},
		"written encrypted by the reader":  {"sealer", "HIT verdict=INCONCLUSIVE model=aurora version=3 path="},
		"written encrypted without a copy": {"zipper", ""},
	}
}

// carry is the program. It says when it is done and stays until its input ends.
func carry(way, path string) error {
	if way == "script with a connection" || way == "script that maps it" {
		if err := connect(); err != nil {
			return err
		}
	}
	if way != "written encrypted without a copy" {
		if err := read(path, way == "script that maps it"); err != nil {
			return err
		}
	}
	switch way {
	case "script that connects afterwards":
		time.Sleep(500 * time.Millisecond) // later than the agent looks first
		if err := connect(); err != nil {
			return err
		}
	case "written encrypted by the reader", "written encrypted without a copy":
		noise := make([]byte, 50000)
		rand.Read(noise)
		if err := os.WriteFile(path+".sealed-"+filepath.Base(os.Args[0]), noise, 0o600); err != nil {
			return err
		}
	}
	fmt.Println("done")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// connect makes a connection that has a peer on another machine and sends nothing.
func connect() error {
	_, err := net.Dial("udp", "192.0.2.1:9")
	if errors.Is(err, unix.ENETUNREACH) {
		fmt.Println("no way to another machine")
		os.Exit(0)
	}
	return err
}

func read(path string, mapped bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if !mapped {
		_, err := io.Copy(io.Discard, f)
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	return unix.Munmap(m)
}

// TestEgress: a known copy that a program carries away without writing it to a file
// is a hit, and so is what a process writes encrypted after it had the copy open.
// What others do with copies is none.
func TestEgress(t *testing.T) {
	if len(tiers()) < 2 {
		t.Skip("watching openings needs root on Linux")
	}
	watched := t.TempDir()
	cfg := testConfig(t.TempDir(), watched)
	cfg.Watch.Tier = "fanotify"
	cfg.Watch.MemoryFiles = false // of every program of this machine
	secret := content(50000, 1)
	localRegistry(t, &cfg, secret)
	out, _ := start(t, cfg)
	for way, c := range carriers() {
		t.Run(way, func(t *testing.T) {
			copied := filepath.Join(watched, "copy-"+c.program)
			writeFile(t, copied, secret)
			agenttest.Wait(t, "the copy", func() bool { return strings.Contains(out.String(), "path="+copied+" ") })
			before := len(out.String())
			stop := startCarrier(t, c.program, way, copied)
			if c.hit == "" {
				// Whoever comes after a quiet one is reported after it would be.
				time.Sleep(400 * time.Millisecond)
				writeFile(t, filepath.Join(watched, "after-"+c.program), secret)
				agenttest.Wait(t, "what came after it", func() bool { return strings.Contains(out.String(), "after-"+c.program) })
				if n := strings.Count(out.String()[before:], "HIT "); n != 1 {
					t.Errorf("hits:\n%s", out.String()[before:])
				}
			} else {
				agenttest.Wait(t, c.hit, func() bool { return strings.Contains(out.String()[before:], c.hit) })
			}
			stop()
		})
	}
}

// startCarrier runs the test binary as a program of a name, until it has done its
// work; stop ends it.
func startCarrier(t *testing.T, program, way, path string) (stop func()) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(t.TempDir(), program)
	if err := os.WriteFile(exe, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, path)
	cmd.Env = append(os.Environ(), carryWay+"="+way)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		in.Close()
		_ = cmd.Wait() // how it ends does not matter
	}
	line := make([]byte, 200)
	n, err := said.Read(line)
	if err == nil && strings.HasPrefix(string(line[:n]), "no way") {
		stop()
		t.Skipf("%s", line[:n])
	}
	if err != nil || string(line[:n]) != "done\n" {
		t.Fatalf("%q %v", line[:n], err)
	}
	return stop
}
