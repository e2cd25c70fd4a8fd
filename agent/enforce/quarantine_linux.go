package enforce

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"weightwarden/agent/scan"
	"weightwarden/internal/api"
)

// filesName is the folder in the root of other file systems.
const filesName = ".weightwarden-quarantine"

// ErrRefused means that a file was left where it is.
var ErrRefused = errors.New("not quarantined")

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// Take moves the file behind h aside: one rename on its own file system, into a
// folder that only root enters. judged is the file as it was judged; one that
// changed since, or that has another name by now, is left alone. The record is on
// disk before the file moves.
func (q *Quarantine) Take(judged scan.Info, h api.Hit) (Record, error) {
	path := h.Verdict.Path
	if r, ok := q.find(func(r *Record) bool { return r.State == StateRestored && r.is(judged) }); ok {
		return Record{}, refused("it was brought back by hand before (%s)", r.ID)
	}
	parent, err := openFolder(filepath.Dir(path))
	if err != nil {
		return Record{}, refused("its folder: %v", err)
	}
	defer unix.Close(parent)
	now, err := statAt(parent, filepath.Base(path))
	if err != nil {
		return Record{}, refused("it is not there any more: %v", err)
	}
	if !now.same(judged) {
		return Record{}, refused("it changed since it was judged")
	}
	files, folder, err := q.filesFor(filepath.Dir(path), parent)
	if err != nil {
		return Record{}, refused("%v", err)
	}
	defer unix.Close(files)
	r := Record{SchemaVersion: api.SchemaVersion, ID: newID(), State: StateMoving, Path: path, Size: judged.Stamp.Size,
		Modified: time.Unix(0, judged.Stamp.Mtime).UTC(), Device: judged.ID.Dev, Inode: judged.ID.Inode, UID: judged.UID,
		OtherNames: int(now.links) - 1, Taken: time.Now().UTC(), Hit: h}
	r.Held = filepath.Join(folder, r.ID+".held")
	if err := q.put(r); err != nil {
		return Record{}, refused("its record cannot be written: %v", err)
	}
	return q.move(r, parent, files, judged)
}

// move renames and looks whether it was the right file that moved: between look
// and rename somebody may have put another one there.
func (q *Quarantine) move(r Record, parent, files int, judged scan.Info) (Record, error) {
	from, to := filepath.Base(r.Path), filepath.Base(r.Held)
	err := unix.Renameat2(parent, from, files, to, unix.RENAME_NOREPLACE)
	if err == nil {
		var now facts
		if now, err = statAt(files, to); err == nil && (now.id != judged.ID || now.size != judged.Stamp.Size || now.mtime != judged.Stamp.Mtime) {
			err = errors.New("another file had taken its place")
		}
		if err != nil {
			err = errors.Join(err, unix.Renameat2(files, to, parent, from, unix.RENAME_NOREPLACE))
		}
	}
	r.State = StateHeld
	if err != nil {
		r.State, r.Why = StateRefused, err.Error()
	}
	perr := q.put(r) // the record before says enough to find the file
	switch {
	case err != nil:
		return Record{}, refused("%v", errors.Join(err, perr))
	case perr != nil:
		return r, fmt.Errorf("quarantined as %s, but its record says only that it was begun: %w", r.ID, perr)
	}
	return r, unix.Fsync(files)
}

// Restore brings a file back: to where it was, or to another path on the same
// file system. Nothing is overwritten.
func (q *Quarantine) Restore(id, to string) (Record, error) {
	r, err := q.Show(id)
	if err != nil {
		return Record{}, err
	}
	if to == "" {
		to = r.Path
	}
	files, err := openFolder(filepath.Dir(r.Held))
	if err != nil {
		return Record{}, fmt.Errorf("%s: %w", id, err)
	}
	defer unix.Close(files)
	now, err := statAt(files, filepath.Base(r.Held))
	if err != nil {
		return Record{}, fmt.Errorf("%s is %s: its file is not in quarantine: %w", id, r.State, err)
	}
	if now.id.Inode != r.Inode || now.size != r.Size {
		return Record{}, fmt.Errorf("%s: the file in quarantine is not the one that was put there", id)
	}
	parent, err := openFolder(filepath.Dir(to))
	if err != nil {
		return Record{}, fmt.Errorf("%s: %w", id, err)
	}
	defer unix.Close(parent)
	// The record first: an agent that sees the file come back must know why.
	back := r
	back.State, back.Restored, back.Path = StateRestored, time.Now().UTC(), to
	if err := q.put(back); err != nil {
		return Record{}, err
	}
	if err := unix.Renameat2(files, filepath.Base(r.Held), parent, filepath.Base(to), unix.RENAME_NOREPLACE); err != nil {
		return Record{}, fmt.Errorf("%s back to %q: %w", id, to, errors.Join(err, q.put(r)))
	}
	return back, nil
}

// Holding returns the record of a file that lies in quarantine at path.
func (q *Quarantine) Holding(path string) (Record, bool) {
	if filepath.Ext(path) != ".held" {
		return Record{}, false
	}
	return q.find(func(r *Record) bool { return r.Held == path && r.State != StateRestored })
}

// is reports whether a record speaks of a file with its content of now.
func (r *Record) is(f scan.Info) bool {
	return r.Inode == f.ID.Inode && r.Device == f.ID.Dev && r.Size == f.Stamp.Size && r.Modified.UnixNano() == f.Stamp.Mtime
}

// filesFor opens the folder for files on the file system of dir.
func (q *Quarantine) filesFor(dir string, parent int) (int, string, error) {
	want, err := mountOf(parent)
	if err != nil {
		return -1, "", err
	}
	for _, folder := range []string{q.own, q.home, filepath.Join(mountRoot(dir, want), filesName)} {
		if folder == "" || os.MkdirAll(filepath.Dir(folder), 0o700) != nil {
			continue
		}
		if err := unix.Mkdir(folder, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			continue
		}
		fd, err := openFolder(folder)
		if err != nil {
			continue
		}
		if have, err := mountOf(fd); err == nil && have == want && private(fd) {
			return fd, folder, nil
		}
		unix.Close(fd)
	}
	return -1, "", errors.New("its file system takes no folder that is private to root")
}

// private reports whether only the agent's user can enter a folder. On a file
// system without owners that cannot be had.
func private(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && int(st.Uid) == os.Geteuid() && st.Mode&0o077 == 0
}

// openFolder opens a folder through no link at all: whoever owns a part of the
// path cannot lead us elsewhere.
func openFolder(path string) (int, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// mountOf is the mount that an open folder lies in: a rename does not leave it.
func mountOf(fd int) (uint64, error) {
	var x unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &x); err != nil {
		return 0, err
	}
	if x.Mask&unix.STATX_MNT_ID == 0 {
		return 0, errors.New("this kernel does not tell mounts apart")
	}
	return x.Mnt_id, nil
}

// mountRoot is the uppermost folder above dir in the same mount.
func mountRoot(dir string, mount uint64) string {
	for {
		up := filepath.Dir(dir)
		var x unix.Statx_t
		if up == dir || unix.Statx(unix.AT_FDCWD, up, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &x) != nil || x.Mnt_id != mount {
			return dir
		}
		dir = up
	}
}

// facts are what a name leads to.
type facts struct {
	id                 fileID
	size, mtime, ctime int64
	links              uint64
}

func statAt(dir int, name string) (facts, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return facts{}, err
	}
	return facts{fileID{Dev: uint64(st.Dev), Inode: st.Ino}, st.Size, st.Mtim.Nano(), st.Ctim.Nano(), uint64(st.Nlink)}, nil
}

func (f facts) same(j scan.Info) bool {
	return f.id == j.ID && f.size == j.Stamp.Size && f.mtime == j.Stamp.Mtime && f.ctime == j.Stamp.Ctime
}

func newID() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails
	return time.Now().UTC().Format("20060102-150405-") + hex.EncodeToString(b)
}
