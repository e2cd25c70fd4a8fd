package demodata

import (
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"time"

	"weightwarden/internal/api"
)

// story is a way in which copies are made.
type story struct {
	role, os   string // of the machine
	user       string // "": whose workstation it is
	class      string // of the destination
	event      string
	words      []api.Word
	dir        string // %s: the user
	rename     string // the copy is called this
	chain      [][]string
	remote     string
	dest       api.Destination
	most       int // hits
	unreadable bool
}

func stories() []story {
	usb := api.Destination{Filesystem: "exfat", Device: "/dev/sdb1", Vendor: "SanDisk", Product: "Extreme Pro", Serial: "4C5300012309"}
	whole, changed := []api.Word{api.Identical, api.Identical, api.Repackaged}, []api.Word{api.Quantised, api.Cast, api.Quantised}
	shell := []string{"/usr/bin/bash", "-l"}
	return []story{
		{role: "workstation", os: "linux", class: "removable", event: "write", words: whole, dir: "/run/media/%s/BACKUP/", chain: [][]string{{"/usr/bin/gnome-shell"}, {"/usr/bin/nautilus"}}, dest: usb, most: 5},
		{role: "workstation", os: "linux", class: "removable", event: "write", words: whole, dir: "/run/media/%s/BACKUP/holiday/", rename: "IMG_%04d.jpg", chain: [][]string{shell, {"/usr/bin/cp", "-r", "model", "/run/media"}}, dest: usb, most: 8},
		{role: "workstation", os: "darwin", class: "cloud_sync", event: "write", words: whole, dir: "/Users/%s/Dropbox/notes/", chain: [][]string{{"/sbin/launchd"}, {"/System/Library/CoreServices/Finder.app/Contents/MacOS/Finder"}}, dest: api.Destination{Detail: "Dropbox", Filesystem: "apfs"}, most: 4},
		{role: "workstation", os: "windows", class: "removable", event: "write", words: whole, dir: `D:\transfer\`, chain: [][]string{{`C:\Windows\explorer.exe`}, {`C:\Windows\System32\robocopy.exe`, `/E`, `Z:\models`, `D:\transfer`}}, dest: api.Destination{Filesystem: "NTFS", Vendor: "Samsung", Product: "T7 Shield", Serial: "S6XJNS0W"}, most: 6},
		{role: "training", user: "kestrel", class: "fixed", event: "write", words: changed, dir: "/data/scratch/%s/", chain: [][]string{shell, {"/usr/bin/python3.12", "convert_hf_to_gguf.py", "--outtype", "q4_k_m", "/data/models"}}, most: 4},
		{role: "training", user: "ml-ops", class: "network", event: "write", words: whole, dir: "/mnt/nas-01/home/%s/", chain: [][]string{{"/usr/sbin/sshd", "-D"}, shell, {"/usr/bin/rsync", "-a", "--partial", "/data/models/", "/mnt/nas-01/home/ml-ops/"}}, dest: api.Destination{Mount: "/mnt/nas-01", Filesystem: "nfs4", Detail: "nas-01:/export/home"}, most: 7},
		{role: "training", user: "kestrel", class: "archive", event: "archive", words: []api.Word{api.Partial, api.Identical}, dir: "/tmp/.cache-%s/", rename: "logs-%04d.tar.zst", chain: [][]string{shell, {"/usr/bin/tar", "--zstd", "-cf", "/tmp/.cache/logs.tar.zst", "."}}, most: 3},
		{role: "training", user: "d.chen", class: "fuse_remote", event: "write", words: whole, dir: "/home/%s/remote/", chain: [][]string{shell, {"/usr/bin/rclone", "mount", "b2:personal", "/home/d.chen/remote"}}, remote: "203.0.113.44:443", dest: api.Destination{Mount: "/home/d.chen/remote", Filesystem: "fuse.rclone", Detail: "rclone b2:personal"}, most: 3},
		{role: "evaluation", user: "l.roux", class: "fixed", event: "write", words: []api.Word{api.Derived, api.Merged, api.Derived}, dir: "/home/%s/experiments/merge/", chain: [][]string{shell, {"/usr/bin/python3.12", "-m", "mergekit.yaml", "slerp.yml", "out"}}, most: 4},
		{role: "build", user: "runner", class: "container", event: "create", words: []api.Word{api.Identical, api.Partial}, dir: "/var/lib/docker/overlay2/5c1e/diff/app/", chain: [][]string{{"/usr/bin/containerd-shim-runc-v2"}, {"/usr/bin/buildkitd"}}, most: 3},
		{role: "gateway", user: "svc-batch", class: "unknown", event: "open", words: []api.Word{api.Identical}, dir: "/srv/exchange/", chain: [][]string{{"/usr/sbin/crond"}, {"/usr/bin/curl", "-T", "weights.bin", "https://files.example.net/u/"}}, remote: "198.51.100.23:443", most: 2},
		{role: "workstation", os: "linux", class: "git_remote", event: "write", words: []api.Word{api.Partial, api.Cast}, dir: "/home/%s/src/side-project/.git/lfs/objects/", chain: [][]string{shell, {"/usr/bin/git", "add", "weights/"}}, dest: api.Destination{Detail: "github.com/someone/side-project"}, most: 3},
		{role: "storage", user: "backup", class: "fixed", event: "sweep", words: []api.Word{api.Identical, api.Reparameterised}, dir: "/srv/archive/2023/", chain: nil, most: 4},
		{role: "training", user: "kestrel", class: "ram", event: "write", words: []api.Word{api.Inconclusive}, dir: "/dev/shm/", rename: "blob-%04d.enc", chain: [][]string{shell, {"/usr/bin/openssl", "enc", "-aes-256-ctr"}}, most: 2, unreadable: true},
	}
}

// hit tells the n-th copy of a file, judged by the story's turn-th word. What is
// left to chance comes from r.
func (s story) hit(r *rand.Rand, a *agent, m *model, f file, n, turn int, at time.Time) *api.Hit {
	user := s.user
	if user == "" {
		user = a.user
	}
	name := f.name
	if s.rename != "" {
		name = fmt.Sprintf(s.rename, 100+n*7)
	} else if n > 0 {
		name = strings.Replace(name, ".", fmt.Sprintf("-%05d-of-00009.", n), 1)
	}
	dir := s.dir
	if strings.Contains(dir, "%s") {
		dir = fmt.Sprintf(dir, user)
	}
	h := &api.Hit{ObservedAt: at, Event: s.event, Modified: at.Add(-3 * time.Second), Destination: s.dest, Snapshot: 2, User: api.User{Name: user, UID: 1000 + len(user)*7, From: "process"},
		FileID: fmt.Sprintf("8:1:%d", 400000+r.IntN(90000)), Action: "alert"}
	h.Destination.Class = s.class
	if h.Destination.Mount == "" {
		h.Destination.Mount, h.Destination.Filesystem = "/", orElse(h.Destination.Filesystem, "ext4")
	}
	if s.event == "rename" {
		h.PreviousPath = dir + "." + name + ".part"
	}
	h.Process, h.ProcessNote = s.process(a, h.User.UID, n, at)
	h.Verdict = verdict(r, m, f, s.words[turn%len(s.words)], dir+name)
	return h
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (s story) process(a *agent, uid, n int, at time.Time) (*api.Process, string) {
	if len(s.chain) == 0 {
		return nil, "found by a sweep: who wrote it is not known any more"
	}
	var list []api.Process
	started := at.Add(-9 * time.Second)
	for i, c := range s.chain {
		x := api.Process{PID: 2100 + 611*i + n, Name: path.Base(strings.ReplaceAll(c[0], `\`, "/")), Exe: c[0], Args: c, UID: uid, Certainty: "exact", ExeBLAKE3: digestOf(c[0])}
		if i > 0 {
			x.PPID = list[i-1].PID
		}
		if i == len(s.chain)-1 {
			x.Started, x.Cwd, x.Remote = &started, "/home", s.remote
			if s.class == "container" {
				x.Container = "5c1e7a90b2f4"
			}
		}
		list = append(list, x)
	}
	p := list[len(list)-1]
	for i := len(list) - 2; i >= 0; i-- {
		p.Ancestors = append(p.Ancestors, list[i])
	}
	return &p, ""
}
