package agent

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"weightwarden/agent/process"
	"weightwarden/agent/scan"
	"weightwarden/agent/state"
	"weightwarden/agent/watch"
	"weightwarden/internal/api"
)

// openWatcher is what tells who opens known copies; watch.Opens on Linux.
type openWatcher interface {
	Add(*os.File) error
	Events() <-chan watch.Opened
	Close() error
}

// egress watches what happens to copies that are known: read by a tool that
// carries files away, or read by a process that writes something unreadable.
type egress struct {
	watcher openWatcher // nil: cannot be had

	mu      sync.Mutex
	readers map[int]reading // by process
	told    map[[2]uint64]time.Time
}

// reading says that a process had a known copy open.
type reading struct {
	path  string
	entry state.Entry
	at    time.Time
}

const (
	readersMax  = 8192
	readingFor  = 10 * time.Minute // after opening a copy, what the process writes is looked at closely
	openedAfter = 200 * time.Millisecond

	scriptsMax   = 1024 // scripts that are asked for connections
	scriptsEvery = time.Second

	minSuspects = 7.5 // bits per byte: model weights reach about this, encrypted and packed data 8
)

func newEgress(w openWatcher) *egress {
	return &egress{watcher: w, readers: map[int]reading{}, told: map[[2]uint64]time.Time{}}
}

// markKnown watches every copy that the state store knows, after a start.
func (a *Agent) markKnown() {
	if a.egress.watcher == nil && a.guard.Load() == nil {
		return
	}
	var paths []string
	err := a.store.Each(func(_ state.Key, e state.Entry) {
		if e.Seq > 0 && len(paths) < 100000 {
			paths = append(paths, e.Path)
		}
	})
	if err != nil {
		a.deps.Log.Error("state", "error", err)
	}
	for _, p := range paths {
		if f, err := scan.OpenFile(p); err == nil {
			a.markOpen(f)
			a.guardCopy(f, p)
			f.Close()
		}
	}
}

func (a *Agent) markOpen(f *os.File) {
	if a.egress.watcher == nil || f == nil {
		return
	}
	if err := a.egress.watcher.Add(f); err != nil {
		a.deps.Log.Debug("a copy's openings cannot be watched", "path", f.Name(), "why", err)
	}
}

// followOpens handles openings of known copies.
func (a *Agent) followOpens(ctx context.Context) {
	a.markKnown()
	later := make(chan known, readersMax)
	var done sync.WaitGroup
	done.Go(func() { a.judgeOpens(ctx, later) })
	for ev := range a.egress.watcher.Events() {
		if k, ok := a.knownCopy(ev); ok {
			a.egress.note(ev, k.entry)
			select {
			case later <- k:
			default: // thousands within a moment: those that come are enough
			}
		}
	}
	close(later)
	done.Wait()
}

// judgeOpens reports openings a moment after they were made: the event overtakes
// the news that its process runs another program now, and a connection is often
// made after the file is opened. Interpreters are asked for connections for longer.
func (a *Agent) judgeOpens(ctx context.Context, later <-chan known) {
	var scripts []known
	again := time.NewTicker(scriptsEvery)
	defer again.Stop()
	for {
		select {
		case k, more := <-later:
			if !more {
				return
			}
			select {
			case <-ctx.Done():
				continue
			case <-time.After(time.Until(k.ev.At.Add(openedAfter))):
			}
			if a.opened(ctx, k) && len(scripts) < scriptsMax {
				scripts = append(scripts, k)
			}
		case <-again.C:
			scripts = slices.DeleteFunc(scripts, func(k known) bool { return time.Since(k.ev.At) > readingFor || !a.opened(ctx, k) })
		}
	}
}

// known is an opening of a copy that was reported.
type known struct {
	ev    watch.Opened
	info  scan.Info
	entry state.Entry
}

func (a *Agent) knownCopy(ev watch.Opened) (known, bool) {
	f, err := scan.OpenFile(ev.Path)
	if err != nil {
		return known{}, false
	}
	defer f.Close()
	info, err := scan.Stat(f)
	if err != nil || info.ID != ev.ID {
		return known{}, false
	}
	e, ok := a.store.Get(info.Key)
	return known{ev, info, e}, ok && e.Seq > 0
}

// opened reports an opening by a program that carries files away. wait says that
// the program may yet do so: it runs a script and has no connection so far.
func (a *Agent) opened(ctx context.Context, k known) (wait bool) {
	ev, proc := k.ev, process.Proc{Root: "/proc"}
	p, _ := a.procs.tracker.Who(ev.ID, ev.Path, ev.PID, ev.At)
	if p == nil {
		return false
	}
	switch {
	case process.Uploads(p):
		p.Remote = proc.Remote(ev.PID)
	case process.Interprets(p):
		if now, err := proc.Read(ev.PID); err != nil || now.Started != nil && now.Started.After(ev.At.Add(time.Second)) {
			return false // it ended; the number may be another's by now
		}
		if p.Remote = proc.Remote(ev.PID); p.Remote == "" {
			return true
		}
	default:
		return false
	}
	if a.egress.once(ev) {
		a.reportEgress(ctx, ev, k.info, k.entry, p)
	}
	return false
}

// note remembers who reads a known copy.
func (g *egress) note(ev watch.Opened, e state.Entry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.readers) >= readersMax {
		for pid, r := range g.readers {
			if time.Since(r.at) > readingFor {
				delete(g.readers, pid)
			}
		}
		if len(g.readers) >= readersMax {
			clear(g.readers)
		}
	}
	g.readers[ev.PID] = reading{path: ev.Path, entry: e, at: ev.At}
}

// once reports whether an opening is the first of this process and file in a while.
func (g *egress) once(ev watch.Opened) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := [2]uint64{ev.ID.Inode ^ ev.ID.Dev<<48, uint64(ev.PID)}
	if t, ok := g.told[k]; ok && time.Since(t) < readingFor {
		return false
	}
	if len(g.told) >= readersMax {
		clear(g.told)
	}
	g.told[k] = time.Now()
	return true
}

// readBy returns the known copy that a process or one of its ancestors opened
// lately. The nearest counts.
func (g *egress) readBy(p *api.Process) (reading, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	pids := []int{p.PID}
	for _, up := range p.Ancestors {
		pids = append(pids, up.PID)
	}
	for _, pid := range pids {
		if r, ok := g.readers[pid]; ok && pid > 1 && time.Since(r.at) < readingFor {
			return r, true
		}
	}
	return reading{}, false
}

func (a *Agent) reportEgress(ctx context.Context, ev watch.Opened, info scan.Info, e state.Entry, p *api.Process) {
	to := ""
	if p.Remote != "" {
		to = ", connected with " + p.Remote
	}
	v := api.Verdict{SchemaVersion: api.SchemaVersion, Path: ev.Path, Size: info.Stamp.Size, Verdict: e.Verdict, Model: e.Model, ModelVersion: e.Version, Kind: e.Kind,
		Confidence: 1, Sentence: fmt.Sprintf("%s %s, found here before as %s, was opened by %q, which carries files away%s.", e.Model, e.Version, e.Verdict, p.Name, to),
		Evidence: []api.Evidence{{Kind: "egress", Text: "opened by a tool that carries files away" + to, Value: 1}}, Findings: []api.Finding{}}
	hit := a.hit(scan.Outcome{Op: watch.Open, Path: ev.Path, At: ev.At, Info: info, Verdict: &v, Snapshot: e.Snapshot, Process: p})
	stored, err := a.appendHit(ctx, hit, state.Key{}, state.Entry{})
	if err == nil {
		a.scanner.Count.Hits.Add(1)
		a.printHit(stored)
	}
}

// suspect reports a large unreadable file written by a process that had a known
// copy open: perhaps that copy, encrypted or packed.
func (a *Agent) suspect(ctx context.Context, o scan.Outcome) {
	v := o.Verdict
	if o.Process == nil || o.File == nil || v.Verdict != api.NoMatch && v.Verdict != api.Inconclusive {
		return
	}
	r, ok := a.egress.readBy(o.Process)
	if !ok || o.Info.Stamp.Size < r.entry.Stamp.Size/4 || r.path == o.Path {
		return
	}
	bits, err := entropy(o.File, o.Info.Stamp.Size)
	if err != nil || bits < minSuspects || v.Verdict == api.NoMatch && v.Format != "" && v.Format != "unknown" && !unreadArchive(v) {
		return
	}
	s := *v
	s.Verdict, s.Model, s.ModelVersion, s.Kind = api.Inconclusive, r.entry.Model, r.entry.Version, r.entry.Kind
	s.Sentence = fmt.Sprintf("Perhaps an encrypted or packed copy of %s %s: %q wrote it after it had %q open.", r.entry.Model, r.entry.Version, o.Process.Name, r.path)
	s.Evidence = append([]api.Evidence{{Kind: "suspected_encrypted", Text: fmt.Sprintf("written by a process that had %q open; %.2f bits of entropy a byte", r.path, bits), Value: bits, Unit: "bits/byte"}}, v.Evidence...)
	o.Verdict, o.OldPath = &s, r.path
	stored, err := a.appendHit(ctx, a.hit(o), state.Key{}, state.Entry{})
	if err == nil {
		a.scanner.Count.Hits.Add(1)
		a.printHit(stored)
	}
}

// deviceWritten reports a raw block device that was written by a process that had
// a known copy open: what went there is not read, so that it is a suspicion.
func (a *Agent) deviceWritten(ctx context.Context, ev watch.Event) {
	p, _ := a.procs.tracker.Who(process.FileID{}, ev.Path, ev.PID, ev.At)
	if p == nil {
		return
	}
	r, ok := a.egress.readBy(p)
	if !ok || !a.egress.once(watch.Opened{Path: ev.Path, PID: ev.PID}) {
		return
	}
	v := api.Verdict{SchemaVersion: api.SchemaVersion, Path: ev.Path, Size: r.entry.Stamp.Size, Verdict: api.Inconclusive,
		Model: r.entry.Model, ModelVersion: r.entry.Version, Kind: r.entry.Kind,
		Sentence: fmt.Sprintf("Perhaps %s %s on a raw disk: %q wrote to %q after it had %q open.", r.entry.Model, r.entry.Version, p.Name, ev.Path, r.path),
		Evidence: []api.Evidence{{Kind: "raw_device", Text: fmt.Sprintf("a block device was written by a process that had %q open", r.path), Value: 1}}, Findings: []api.Finding{}}
	hit := a.hit(scan.Outcome{Op: watch.Write, Path: ev.Path, OldPath: r.path, At: ev.At, Info: scan.Info{UID: -1}, Verdict: &v, Snapshot: r.entry.Snapshot, Process: p})
	hit.Destination = api.Destination{Class: "unknown", Device: ev.Path, Detail: "raw block device"}
	if stored, err := a.appendHit(ctx, hit, state.Key{}, state.Entry{}); err == nil {
		a.scanner.Count.Hits.Add(1)
		a.printHit(stored)
	}
}

// unreadArchive reports whether a container has members that could not be read.
func unreadArchive(v *api.Verdict) bool {
	for _, f := range v.Findings {
		if f.Severity == "unread" {
			return true
		}
	}
	return false
}

// entropy is the Shannon entropy, in bits a byte, of samples over the file.
func entropy(r io.ReaderAt, size int64) (float64, error) {
	const samples, each = 16, 16 << 10
	var counts [256]int64
	var total int64
	b := make([]byte, each)
	for i := range int64(samples) {
		n, err := r.ReadAt(b, max(0, (size-each)*i/(samples-1)))
		if err != nil && err != io.EOF {
			return 0, err
		}
		for _, c := range b[:n] {
			counts[c]++
		}
		total += int64(n)
	}
	bits := 0.0
	for _, c := range counts {
		if c > 0 {
			p := float64(c) / float64(total)
			bits -= p * math.Log2(p)
		}
	}
	return bits, nil
}
