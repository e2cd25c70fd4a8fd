package watch

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// mount is one place where a file system is mounted, in our mount namespace or in
// another one.
type mount struct {
	dev     uint64
	kind    string
	point   string // as its own namespace calls it
	reach   string // path by which we reach it
	foreign bool
}

// pseudo lists file systems that hold no files of people.
func pseudoKind(kind string) bool {
	switch kind {
	case "proc", "sysfs", "cgroup", "cgroup2", "devpts", "securityfs", "debugfs", "tracefs", "bpf", "pstore", "mqueue",
		"hugetlbfs", "configfs", "fusectl", "binfmt_misc", "autofs", "rpc_pipefs", "nsfs", "efivarfs", "selinuxfs", "devtmpfs",
		"squashfs", "iso9660", "fuse.lxcfs", "fuse.portal", "fuse.gvfsd-fuse":
		return true
	}
	return false
}

// remoteKind reports whether others can write without this kernel knowing.
func remoteKind(kind string) bool {
	switch kind {
	case "nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "glusterfs", "afs", "beegfs", "virtiofs", "gpfs":
		return true
	}
	return strings.HasPrefix(kind, "fuse") && kind != "fuseblk"
}

func parseMounts(r io.Reader, reach string) []mount {
	list, err := mountinfo.GetMountsFromReader(r, nil)
	if err != nil {
		return nil
	}
	var out []mount
	for _, m := range list {
		if pseudoKind(m.FSType) {
			continue
		}
		out = append(out, mount{dev: unix.Mkdev(uint32(m.Major), uint32(m.Minor)), kind: m.FSType, point: m.Mountpoint,
			reach: filepath.Join("/", reach, m.Mountpoint), foreign: reach != ""})
	}
	return out
}

// hidden reports whether another file system is mounted over this one: what its path leads to, and would be marked, is
// that one. Nothing is asked of servers. Subvolumes of btrfs have device numbers of their own, and cannot be told so.
func (m *mount) hidden() bool {
	var st unix.Statx_t
	if m.kind == "btrfs" || unix.Statx(unix.AT_FDCWD, m.reach, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st) != nil {
		return false
	}
	return unix.Mkdev(st.Dev_major, st.Dev_minor) != m.dev
}

// allMounts lists the mounts of our namespace, and those of every other mount
// namespace that a running process is in.
func allMounts(proc string) []mount {
	f, err := os.Open(proc + "/self/mountinfo")
	if err != nil {
		return nil
	}
	out := parseMounts(f, "")
	f.Close()
	own, err := os.Readlink(proc + "/self/ns/mnt")
	if err != nil {
		return out
	}
	seen := map[string]bool{own: true}
	dir, err := os.Open(proc)
	if err != nil {
		return out
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what could be read is used
	for _, pid := range names {
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		ns, err := os.Readlink(proc + "/" + pid + "/ns/mnt")
		if err != nil || seen[ns] {
			continue
		}
		seen[ns] = true
		if f, err := os.Open(proc + "/" + pid + "/mountinfo"); err == nil {
			out = append(out, parseMounts(f, proc+"/"+pid+"/root")...)
			f.Close()
		}
	}
	return out
}
