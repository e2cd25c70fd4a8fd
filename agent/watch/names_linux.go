package watch

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"weightwarden/agent/watch/fanotify"
)

// readNames handles renames and links. A new file is left to its CLOSE_WRITE; a
// new name of a file that has content already is a hard link, or a file without
// a name that got one.
func (k *Kernel) readNames() {
	k.readLoop(k.names, func(ev fanotify.Event) {
		if ev.FD >= 0 {
			unix.Close(int(ev.FD))
		}
		if ev.Mask&unix.FAN_CLOSE_WRITE != 0 { // asked for on devtmpfs only
			k.deviceClosed(ev)
			return
		}
		place, op := ev.Place, Create
		if ev.Mask&unix.FAN_RENAME != 0 {
			place, op = ev.New, Rename
			if place.Dir.Zero() {
				return // moved out of the file system's marked part
			}
		}
		m, ok := k.mountByFS(place.Dir.FS)
		if !ok {
			return
		}
		if ev.Mask&unix.FAN_ONDIR != 0 {
			if op == Rename {
				k.movedFolder(m, ev)
			}
			return
		}
		k.named(m, ev, place, op)
	})
}

func (k *Kernel) named(m mount, ev fanotify.Event, place fanotify.Place, op Op) {
	child, ok := openHandle(m.reach, unix.NewFileHandle(ev.Child.Type, []byte(ev.Child.Bytes)))
	if !ok {
		return // gone again
	}
	var st unix.Stat_t
	err := unix.Fstat(child, &st)
	unix.Close(child)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG ||
		st.Size < k.opts.MinSize && (k.opts.Small == nil || !k.opts.Small(place.Name)) {
		return
	}
	path, ok := placePath(m, place)
	if !ok || !k.inScope(path) {
		return
	}
	e := Event{Op: op, Path: path, PID: int(ev.PID), At: time.Now()}
	if op == Rename {
		e.OldPath, _ = placePath(m, ev.Old)
	} else if st.Nlink > 1 {
		e.Op = Link
	}
	k.send(e)
}

// movedFolder: the files in a folder that moved have new paths, and no event of
// their own.
func (k *Kernel) movedFolder(m mount, ev fanotify.Event) {
	path, ok := placePath(m, ev.New)
	if !ok || !k.inScope(path) {
		return
	}
	old, _ := placePath(m, ev.Old)
	k.send(Event{Op: Rename, Path: path, OldPath: old, PID: int(ev.PID), Folder: true, At: time.Now()})
}

// placePath resolves a folder's handle and joins the name.
func placePath(m mount, p fanotify.Place) (string, bool) {
	if p.Dir.Zero() {
		return "", false
	}
	dir, ok := openHandle(m.reach, unix.NewFileHandle(p.Dir.Type, []byte(p.Dir.Bytes)))
	if !ok {
		return "", false
	}
	defer unix.Close(dir)
	base := readlinkFD(dir)
	if m.foreign {
		base = filepath.Join(m.reach, base)
	}
	if _, err := os.Lstat(base); err != nil {
		return "", false
	}
	return filepath.Join(base, p.Name), true
}
