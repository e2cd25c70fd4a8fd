// Package watch tells that files were written, moved or linked. Watchers come in
// tiers: fanotify on whole filesystems (Linux, root), fsnotify on folders
// (anywhere), polling sweeps (network mounts, and where nothing else works). All
// keep one promise: what they may have missed they report as a Gap, and a sweep
// then makes up for it.
package watch

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"weightwarden/internal/api"
)

// The tiers of api.Watch.
const (
	TierFanotify = "fanotify"
	TierFSNotify = "fsnotify"
	TierSweep    = "sweep"
)

// Op is what happened to a file.
type Op string

// The operations, in the words of api.Hit.Event.
const (
	Create Op = "create"
	Write  Op = "write"
	Rename Op = "rename"
	Link   Op = "link"
	Open   Op = "open"
	Sweep  Op = "sweep"
	Scan   Op = "scan"
	Device Op = "device" // a block device was written past any file system
)

// Event is one thing that happened to one file. Whoever receives it closes File.
type Event struct {
	Op      Op
	Path    string   // where the file lies, as far as the source knows
	OldPath string   // of a rename
	File    *os.File // the file itself where the kernel handed it over, else nil
	PID     int      // who did it, 0: the source does not say
	Closed  bool     // the source says that a writer has closed the file
	Folder  bool     // Path is a folder that was renamed, with all that is in it
	At      time.Time
}

// Gap is a time and a place for which events may be missing.
type Gap struct {
	Path  string
	From  time.Time
	Cause string // "overflow", "unwatched", "unreadable"
	Text  string
}

// Watcher is a source of events. Both channels are closed after Close.
type Watcher interface {
	Events() <-chan Event
	Gaps() <-chan Gap
	Status() []api.Watch
	Close() error
}

// Filter says what is left out.
type Filter struct {
	Exclude []string // folders, or patterns of filepath.Match
}

// Skips reports whether path is left out.
func (f Filter) Skips(path string) bool {
	for _, e := range f.Exclude {
		if path == e || strings.HasPrefix(path, strings.TrimSuffix(e, string(filepath.Separator))+string(filepath.Separator)) {
			return true
		}
		if ok, err := filepath.Match(e, path); err == nil && ok {
			return true
		}
	}
	return false
}

// Within reports whether path is folder or lies below it.
func Within(path, folder string) bool {
	folder = strings.TrimSuffix(folder, string(filepath.Separator))
	return path == folder || folder == "" || strings.HasPrefix(path, folder+string(filepath.Separator))
}
