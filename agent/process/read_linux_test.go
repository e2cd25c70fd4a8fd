package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"weightwarden/internal/api"
)

func TestReadSelf(t *testing.T) {
	p, err := Proc{Root: "/proc"}.Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if p.Exe != exe || p.UID != os.Getuid() || p.PPID != os.Getppid() || p.Started == nil || len(p.Args) == 0 {
		t.Fatalf("%+v", p)
	}
	Proc{Root: "/proc"}.Chain(p)
	if len(p.Ancestors) == 0 || p.Ancestors[0].PID != os.Getppid() {
		t.Fatalf("ancestors %+v", p.Ancestors)
	}
	if _, err := (Proc{Root: "/proc"}).Read(1 << 30); err == nil {
		t.Fatal("no error for a process that is not there")
	}
}

func TestParseStat(t *testing.T) {
	var p api.Process
	ticks, err := parseStat([]byte("42 (a) 1 (b) S 7 42 42 34818 42 0 1 2 3 4 5 6 7 8 20 0 1 0 991 5 6"), &p)
	if err != nil || ticks != 991 || p.Name != "a) 1 (b" || p.PPID != 7 || p.TTY != "pts/2" {
		t.Fatalf("%+v %d %v", p, ticks, err)
	}
	for _, bad := range []string{"", "1 (x", "1 ) (", "1 (x) S 1"} {
		if _, err := parseStat([]byte(bad), &p); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
}

func TestParseCgroup(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for _, tt := range []struct{ in, cgroup, container string }{
		{"0::/user.slice/user-1000.slice\n", "/user.slice/user-1000.slice", ""},
		{"0::/system.slice/docker-" + id + ".scope\n", "/system.slice/docker-" + id + ".scope", id},
		{"5:cpu:/docker/" + id + "\n0::/\n", "/docker/" + id, id},
		{"0::/kubepods/pod1/cri-containerd-" + id + "aa\n", "/kubepods/pod1/cri-containerd-" + id + "aa", ""},
		{"garbage", "", ""},
	} {
		cgroup, container := parseCgroup(tt.in)
		if cgroup != tt.cgroup || container != tt.container {
			t.Errorf("%q: %q %q", tt.in, cgroup, container)
		}
	}
}

func TestHolders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "held")
	cmd := exec.Command("sh", "-c", `exec 3>"$0"; echo open; read x`, path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); cmd.Wait() }()
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	got := Proc{Root: "/proc"}.Holders(FileID{Dev: st.Dev, Inode: st.Ino}, os.Getpid(), 4)
	if len(got) != 1 || got[0].PID != cmd.Process.Pid || !got[0].Writing {
		t.Fatalf("%+v, want writer %d", got, cmd.Process.Pid)
	}
}

func TestSeedKnowsSelf(t *testing.T) {
	for _, p := range Seed() {
		if p.PID == os.Getpid() {
			if p.Exe == "" || p.UID != os.Getuid() {
				t.Fatalf("%+v", p)
			}
			return
		}
	}
	t.Fatal("this process is not among the seeded")
}

func FuzzParsers(f *testing.F) {
	f.Add([]byte("42 (a) S 7 42 42 34818 42 0 1 2 3 4 5 6 7 8 20 0 1 0 991 5 6"))
	f.Add([]byte("0::/docker/0123\nUid:\t1 2"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p api.Process
		_, _ = parseStat(b, &p)
		parseUID(b)
		if _, c := parseCgroup(string(b)); c != "" && len(c) != 64 {
			t.Fatalf("container %q", c)
		}
	})
}
