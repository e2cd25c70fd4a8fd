package watch

import "golang.org/x/sys/unix"

// PseudoFS reports whether path is the root of a file system that holds no files
// of people: proc, sysfs, cgroup and their like.
func PseudoFS(path string) bool {
	switch path {
	case "/proc", "/sys", "/dev", "/run":
	default:
		return false
	}
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return false
	}
	switch st.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC:
		return true
	}
	return false
}
