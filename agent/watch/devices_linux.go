package watch

import (
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"weightwarden/agent/watch/fanotify"
)

const devices = "/dev"

// markDevices asks for the closing of device nodes: a copy that is written to a
// raw disk (dd of=/dev/sdX) passes by every file system. The nodes that everybody
// writes to all the time are left out by the kernel.
func (k *Kernel) markDevices() {
	var st unix.Statfs_t
	if k.names == nil || unix.Statfs(devices, &st) != nil || st.Type != unix.TMPFS_MAGIC && st.Type != unix.RAMFS_MAGIC {
		return
	}
	// On an ordinary tmpfs (a container's /dev) this is refused or harmless: the
	// events of plain files are dropped below.
	if k.names.Mark(unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, unix.FAN_CLOSE_WRITE, devices) != nil {
		return
	}
	const ignore = unix.FAN_MARK_ADD | unix.FAN_MARK_IGNORED_MASK | unix.FAN_MARK_IGNORED_SURV_MODIFY
	for _, name := range []string{"null", "zero", "tty", "ptmx", "kmsg", "urandom", "random", "full"} {
		_ = k.names.Mark(ignore, unix.FAN_CLOSE_WRITE, filepath.Join(devices, name)) // saves time only
	}
}

// deviceClosed tells of a block device that was closed after writing. What was
// written is not known; who did it is.
func (k *Kernel) deviceClosed(ev fanotify.Event) {
	if ev.Place.Name == "" || filepath.Base(ev.Place.Name) != ev.Place.Name {
		return
	}
	dir, ok := openHandle(devices, unix.NewFileHandle(ev.Place.Dir.Type, []byte(ev.Place.Dir.Bytes)))
	if !ok {
		return
	}
	path := filepath.Join(readlinkFD(dir), ev.Place.Name)
	unix.Close(dir)
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return
	}
	k.send(Event{Op: Device, Path: path, PID: int(ev.PID), At: time.Now()})
}
