package watch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"weightwarden/internal/api"
)

// Notify watches folder trees through fsnotify: inotify on Linux, kqueue on
// macOS, ReadDirectoryChangesW on Windows. It names no process and holds no file
// open; a file that is gone before somebody looks is gone.
type Notify struct {
	w      *fsnotify.Watcher
	roots  []string
	filter Filter
	events chan Event
	gaps   chan Gap
	done   chan struct{}
	ended  sync.WaitGroup

	mu      sync.Mutex
	dirs    map[string]bool
	failed  map[string]string // folder -> reason
	missing map[string]bool   // roots that do not exist yet
	closed  bool
}

// NewNotify watches roots and everything below them. A root that does not exist
// yet is picked up when it appears.
func NewNotify(roots []string, filter Filter) (*Notify, error) {
	w, err := fsnotify.NewBufferedWatcher(4096)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	n := &Notify{w: w, filter: filter, events: make(chan Event, 4096), gaps: make(chan Gap, 64),
		done: make(chan struct{}), dirs: map[string]bool{}, failed: map[string]string{}, missing: map[string]bool{}}
	for _, r := range roots {
		n.roots = append(n.roots, filepath.Clean(r))
	}
	n.ended.Add(1)
	go n.run()
	for _, r := range n.roots {
		n.addRoot(r)
	}
	return n, nil
}

// Events implements Watcher.
func (n *Notify) Events() <-chan Event { return n.events }

// Gaps implements Watcher.
func (n *Notify) Gaps() <-chan Gap { return n.gaps }

// Close implements Watcher.
func (n *Notify) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	n.mu.Unlock()
	close(n.done)
	err := n.w.Close()
	n.ended.Wait()
	close(n.events)
	close(n.gaps)
	return err
}

// Status implements Watcher.
func (n *Notify) Status() []api.Watch {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]api.Watch, 0, len(n.roots))
	for _, root := range n.roots {
		w := api.Watch{Path: root, Tier: TierFSNotify, State: "ok"}
		count, failed, example := 0, 0, ""
		for d := range n.dirs {
			if Within(d, root) {
				count++
			}
		}
		for d, reason := range n.failed {
			if Within(d, root) {
				failed++
				example = fmt.Sprintf("%q: %s", d, reason)
			}
		}
		w.Detail = fmt.Sprintf("%d folders", count)
		switch {
		case n.missing[root]:
			w.State, w.Detail = "broken", "the folder does not exist yet"
		case failed > 0:
			w.State, w.Detail = "partial", fmt.Sprintf("%d folders, %d not watched (%s)", count, failed, example)
		}
		out = append(out, w)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Path < out[j].Path })
	return out
}

func (n *Notify) run() {
	defer n.ended.Done()
	retry := time.NewTicker(2 * time.Second)
	defer retry.Stop()
	for {
		select {
		case ev, ok := <-n.w.Events:
			if !ok {
				return
			}
			n.handle(ev)
		case err, ok := <-n.w.Errors:
			if !ok {
				return
			}
			n.failure(err)
		case <-retry.C:
			n.retryMissing()
		case <-n.done:
			return
		}
	}
}

func (n *Notify) failure(err error) {
	cause := "unwatched"
	if errors.Is(err, fsnotify.ErrEventOverflow) {
		cause = "overflow"
	}
	for _, root := range n.roots {
		// Folders may have come during the overflow: list them again.
		n.addTree(root, cause == "overflow")
		n.gap(Gap{Path: root, From: time.Now().Add(-time.Minute), Cause: cause, Text: err.Error()})
	}
}

func (n *Notify) gap(g Gap) {
	select {
	case n.gaps <- g:
	case <-n.done:
	}
}

func (n *Notify) send(e Event) {
	select {
	case n.events <- e:
	case <-n.done:
	}
}

func (n *Notify) handle(ev fsnotify.Event) {
	if n.filter.Skips(ev.Name) {
		return
	}
	now := time.Now()
	switch {
	case ev.Has(fsnotify.Create):
		info, err := os.Lstat(ev.Name)
		if err != nil {
			return // gone again; its writer's other name or the sweep has it
		}
		if info.IsDir() {
			n.addTree(ev.Name, true)
			return
		}
		if info.Mode().IsRegular() {
			n.send(Event{Op: Create, Path: ev.Name, At: now})
		}
	case ev.Has(fsnotify.Write), ev.Has(fsnotify.Chmod):
		n.send(Event{Op: Write, Path: ev.Name, At: now})
	case ev.Has(fsnotify.Rename), ev.Has(fsnotify.Remove):
		n.forget(ev.Name)
	}
}

// forget drops a folder that went away, and everything below it: the kernel keeps
// watches of a moved folder under its old name, which would then be wrong.
func (n *Notify) forget(path string) {
	n.mu.Lock()
	var gone []string
	if n.dirs[path] {
		for d := range n.dirs {
			if Within(d, path) {
				gone = append(gone, d)
				delete(n.dirs, d)
			}
		}
	}
	for d := range n.failed {
		if Within(d, path) {
			delete(n.failed, d)
		}
	}
	for _, r := range n.roots {
		if r == path {
			n.missing[r] = true
		}
	}
	n.mu.Unlock()
	for _, d := range gone {
		_ = n.w.Remove(d) // already gone with the folder itself
	}
}

func (n *Notify) retryMissing() {
	n.mu.Lock()
	var roots []string
	for r := range n.missing {
		roots = append(roots, r)
	}
	n.mu.Unlock()
	for _, r := range roots {
		if _, err := os.Lstat(r); err == nil {
			n.addRoot(r)
			n.gap(Gap{Path: r, From: time.Now().Add(-time.Minute), Cause: "unwatched", Text: "the folder appeared"})
		}
	}
}

func (n *Notify) addRoot(root string) {
	info, err := os.Stat(root)
	n.mu.Lock()
	n.missing[root] = err != nil || !info.IsDir()
	if !n.missing[root] {
		delete(n.missing, root)
	}
	n.mu.Unlock()
	if err == nil && info.IsDir() {
		n.addTree(root, false)
	}
}

// addTree watches a folder and all below it. A folder is watched first and listed
// afterwards, so that a file made in between is seen twice rather than never.
// With report, files found are reported as created.
func (n *Notify) addTree(top string, report bool) {
	queue := []string{top}
	for len(queue) > 0 {
		dir := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if n.filter.Skips(dir) || !n.addDir(dir) {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			n.fail(dir, err)
			continue
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			switch {
			case e.IsDir() && !PseudoFS(path):
				queue = append(queue, path)
			case report && e.Type().IsRegular() && !n.filter.Skips(path):
				n.send(Event{Op: Create, Path: path, At: time.Now()})
			}
		}
	}
}

func (n *Notify) addDir(dir string) bool {
	if err := n.w.Add(dir); err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			n.fail(dir, err)
		}
		return false
	}
	n.mu.Lock()
	n.dirs[dir] = true
	delete(n.failed, dir)
	n.mu.Unlock()
	return true
}

// fail remembers that a folder is not watched: Status says so, and the agent
// sweeps places that are watched in part.
func (n *Notify) fail(dir string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.failed) < 10000 {
		n.failed[dir] = err.Error()
	}
}
